/** Runs another process in a running container, by `runc exec`, with pipes or a terminal. */
import { randomBytes } from 'node:crypto';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, watch } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ReadStream } from 'node:tty';
import { EngineError, type ExecSession, type ExecSpec, type TerminalSize } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { duplicateTerminal, openTerminal, resizeTerminal } from '../sys/terminal.ts';
import { resizeConsole } from './attach.ts';
import { pidOf, type Runtime } from './conmon.ts';
import { TerminalInput } from './terminal-input.ts';
import { type ContainerUser, type OciProcess, mergeEnvironment, processCapabilities } from './oci.ts';

export interface ExecRequest {
  id: string;
  runtime: Runtime;
  runtimeRoot: string;
  directory: string;
  /** The container's own process, from its bundle. */
  base: OciProcess;
  spec: ExecSpec;
  /** Where the spec names a user. */
  user?: ContainerUser;
}

/** Resolves when the process runs; `invalid` where it cannot be executed. */
export async function startExec(request: ExecRequest): Promise<ExecSession> {
  const directory = join(request.directory, randomBytes(8).toString('hex'));
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const files = { process: join(directory, 'process.json'), pid: join(directory, 'pid'), log: join(directory, 'log') };
  try {
    await writeFile(files.process, JSON.stringify(execProcess(request)), { mode: 0o600 });
    const global = ['--root', request.runtimeRoot, '--log', files.log, '--log-format', 'json'];
    const args = [...global, 'exec', '--process', files.process, '--pid-file', files.pid, request.id];
    const started = request.spec.tty === true ? spawnTerminal(request, args) : spawnPipes(request, args);
    const exited = started.ended.finally(() => rm(directory, { recursive: true, force: true }));
    exited.catch(() => {});
    await processStarted(started.child, directory, files);
    return {
      ...started.streams,
      resize: started.resize,
      exited,
      kill: () => {
        void killExec(files.pid, started.child);
      },
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

function execProcess({ base, spec, user }: ExecRequest): OciProcess {
  if (spec.command[0] === undefined || spec.command[0] === '')
    throw new EngineError('invalid', 'command: nothing to execute');
  const bounding = base.capabilities.bounding.map((name) => name.replace(/^CAP_/, ''));
  const home = user === undefined ? [] : [`HOME=${user.home}`];
  return {
    ...base,
    terminal: spec.tty === true,
    ...(spec.tty === true ? { consoleSize: { height: sizeOf(spec).rows, width: sizeOf(spec).columns } } : {}),
    user: user === undefined ? base.user : { uid: user.uid, gid: user.gid, additionalGids: user.groups },
    args: spec.command,
    env: mergeEnvironment(spec.tty === true ? ['TERM=xterm'] : [], base.env, home, spec.env),
    cwd: spec.workingDirectory ?? base.cwd,
    capabilities: user === undefined ? base.capabilities : processCapabilities(bounding, user.uid),
  };
}

function sizeOf({ size }: ExecSpec): TerminalSize {
  return size ?? { columns: 80, rows: 24 };
}

interface Started {
  child: ChildProcess;
  streams: Pick<ExecSession, 'stdin' | 'stdout' | 'stderr'>;
  ended: Promise<{ code: number }>;
  resize: (size: TerminalSize) => void;
}

function spawnPipes({ runtime, spec }: ExecRequest, args: string[]): Started {
  // Others than runc may give the null device of the host away: an input that has ended stands for it.
  const isPiped = spec.stdin === true || !runtime.isRunc;
  const child = spawn(runtime.path, args, { stdio: [isPiped ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
  const { stdin, stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new EngineError('internal', 'the runtime was started without pipes');
  // The process may end without reading its input: that is no error of ours.
  stdin?.on('error', () => {});
  if (spec.stdin !== true) stdin?.end();
  return {
    child,
    // Node throws away what nobody has read of a child that has ended: these keep it until the caller looks.
    streams: {
      ...(stdin === null || spec.stdin !== true ? {} : { stdin }),
      stdout: stdout.pipe(new PassThrough()),
      stderr: stderr.pipe(new PassThrough()),
    },
    ended: exitOf(child, 'close'),
    resize: () => {},
  };
}

function spawnTerminal({ runtime, spec }: ExecRequest, args: string[]): Started {
  const { master, slave } = openTerminal(sizeOf(spec));
  let child: ChildProcess;
  try {
    child = spawn(runtime.path, args, { stdio: [slave, slave, slave], detached: true });
  } finally {
    closeSync(slave);
  }
  const input = new ReadStream(master);
  const stdin = spec.stdin === true ? new TerminalInput(duplicateTerminal(master)) : undefined;
  const stdout = new PassThrough();
  // Linux ends a terminal whose other side has closed with EIO, after everything was read.
  input.on('error', () => stdout.end());
  input.on('end', () => stdout.end());
  input.on('close', () => stdout.end());
  input.pipe(stdout, { end: false });
  let open = true;
  const drained = finished(stdout, { writable: true, readable: false }).catch(() => {});
  const ended = exitOf(child, 'exit')
    .then(async (exit) => {
      await drained;
      return exit;
    })
    .finally(() => {
      open = false;
      input.destroy();
      stdin?.destroy();
    });
  return {
    child,
    streams: { ...(stdin === undefined ? {} : { stdin }), stdout },
    ended,
    resize: (size) => {
      if (!open) return;
      resizeTerminal(master, size);
      // Not every runtime passes a changed size on to the terminal inside, which it holds.
      if (child.pid !== undefined && child.exitCode === null) resizeConsole(child.pid, size);
    },
  };
}

function exitOf(child: ChildProcess, event: 'close' | 'exit'): Promise<{ code: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number }>();
  child.once('error', (error) =>
    reject(new EngineError('unavailable', `cannot run the runtime: ${error.message}`, { cause: error })),
  );
  child.once(event, (code: number | null, signal: NodeJS.Signals | null) =>
    resolve({ code: code ?? (signal === null ? 255 : 137) }),
  );
  return promise;
}

/** Resolves when the runtime has written the process id; rejects with the runtime's error where it ends before that. */
async function processStarted(
  child: ChildProcess,
  directory: string,
  files: { pid: string; log: string },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const look = (): void => {
    pidOf(files.pid).then((pid) => {
      if (pid !== undefined) resolve();
    }, reject);
  };
  const watcher = watch(directory, look);
  const onExit = (): void => {
    pidOf(files.pid).then(async (pid) => {
      if (pid !== undefined) return resolve();
      reject(await execError(files.log));
    }, reject);
  };
  child.once('exit', onExit);
  child.once('error', (error) =>
    reject(new EngineError('unavailable', `cannot run the runtime: ${error.message}`, { cause: error })),
  );
  if (child.exitCode !== null) onExit();
  look();
  try {
    await promise;
  } finally {
    watcher.close();
    child.off('exit', onExit);
  }
}

async function execError(log: string): Promise<EngineError> {
  const text = await readFile(log, 'utf8').catch(() => '');
  const last = text.trim().split('\n').at(-1) ?? '';
  let message = last;
  try {
    const entry: unknown = JSON.parse(last);
    if (typeof entry === 'object' && entry !== null && 'msg' in entry) message = String(entry.msg);
  } catch {
    // Not the runtime's own form: the text itself is the message.
  }
  if (
    /executable file not found|no such file|permission denied|not a directory|exec format error|chdir/i.test(message)
  ) {
    return new EngineError('invalid', `the command cannot be executed: ${message}`);
  }
  if (/does not exist|not running|stopped/i.test(message))
    return new EngineError('conflict', `the container does not run: ${message}`);
  return new EngineError('internal', `the runtime could not execute the command: ${message}`);
}

/** The runtime cannot pass SIGKILL on, so the process itself is killed; the runtime ends with it, which keeps its id from being reused. */
async function killExec(pidFile: string, child: ChildProcess): Promise<void> {
  const pid = child.exitCode === null ? await pidOf(pidFile) : undefined;
  if (pid === undefined) {
    child.kill('SIGKILL');
    return;
  }
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}
