/**
 * Starts containers under conmon, which outlives us: it holds the output, writes the log, and writes down how the container ended.
 *
 * conmon is told things by environment and file descriptors (conmon(8)): `_OCI_SYNCPIPE` names the descriptor on which it reports
 * the container's process id, or the runtime's error. It keeps that open for as long as it lives, so one line is read and no more.
 */
import { once } from 'node:events';
import { chmodSync, closeSync, constants as fileConstants, openSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { RunError, run } from '#lib/run.ts';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { limitFileSize } from '../sys/file-size.ts';
import { makePipe, reap, spawnProcess } from '../sys/spawn.ts';
import { takeBack } from '../sys/take-back.ts';
import { type LogSize, mostFileBytes } from './log-bound.ts';
import type { ContainerPaths, Layout } from './layout.ts';

export interface Runtime {
  /** Absolute. */
  path: string;
  /** Where it is not, a created container is started by the runtime's own `start`, as the OCI's runtime specification has it. */
  isRunc: boolean;
}

export interface ConmonRequest {
  id: string;
  name: string;
  layout: Layout;
  paths: ContainerPaths;
  runtime: Runtime;
  /** Absolute. */
  conmon: string;
  logPath: string;
  logSize: LogSize;
  tty: boolean;
  stdin: boolean;
}

export interface Monitor {
  /** Resolves when it is gone: true by itself, false after `forget`. */
  gone: Promise<boolean>;
  forget(): void;
}

/**
 * Resolves with the container's process id when the runtime has created it; it waits for its release then.
 * Rejects with the runtime's own message.
 */
export async function startConmon(request: ConmonRequest): Promise<{ pid: number; monitor: Monitor }> {
  const { id, layout, paths } = request;
  const options: [string, string][] = [
    ['--api-version', '1'],
    ['--cid', id],
    ['--cuuid', id],
    ['--name', request.name.slice(0, 200)],
    ['--runtime', request.runtime.path],
    ['--runtime-arg', '--root'],
    ['--runtime-arg', layout.runtimeRoot],
    ['--bundle', paths.bundle],
    ['--log-path', `k8s-file:${request.logPath}`],
    ['--log-level', 'error'],
    ['--container-pidfile', paths.pid],
    ['--exit-dir', layout.exits],
    ['--persist-dir', paths.persist],
  ];
  // Our child for as long as we live, rather than a child's child: one process less, and its number is known at once.
  const args = [...options.flat(), '--full-attach', '--no-sync-log', '--sync'];
  if (request.tty) args.push('--terminal');
  if (request.stdin) args.push('--stdin');
  const { conmon, sync, errors } = launch(request.conmon, args, paths.bundle);
  writeFileSync(paths.conmonPid, String(conmon));
  const stderr: Buffer[] = [];
  errors.on('data', (chunk: Buffer) => stderr.push(chunk)).on('error', () => {});
  const { promise: report, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  sync.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (text.includes('\n')) resolve(text);
  });
  sync.once('error', reject);
  sync.once('end', () => resolve(text));
  try {
    const line = (await report).split('\n')[0] ?? '';
    const { pid, message } = parseReport(line);
    if (pid === undefined) throw runtimeError(message ?? Buffer.concat(stderr).toString());
    limitFileSize(conmon, mostFileBytes(request.logSize));
    return { pid, monitor: monitorOf(sync, conmon) };
  } catch (error) {
    sync.destroy();
    reap(conmon);
    throw error;
  } finally {
    errors.destroy();
  }
}

function launch(program: string, args: string[], directory: string): { conmon: number; sync: Socket; errors: Socket } {
  const report = makePipe();
  const words = makePipe();
  try {
    const conmon = spawnProcess({
      program,
      args,
      environment: { PATH: process.env['PATH'] ?? '', _OCI_SYNCPIPE: '3' },
      directory,
      descriptors: new Map([
        [2, words.write],
        [3, report.write],
      ]),
      // Of its own limit for files. The runtime takes signals as they are by default again.
      ignored: [constants.signals.SIGXFSZ],
    });
    return { conmon, sync: readerOf(report.read), errors: readerOf(words.read) };
  } catch (error) {
    closeSync(report.read);
    closeSync(words.read);
    throw new EngineError('unavailable', `cannot run conmon: ${(error as Error).message}`, { cause: error });
  } finally {
    closeSync(report.write);
    closeSync(words.write);
  }
}

function readerOf(descriptor: number): Socket {
  return new Socket({ fd: descriptor, readable: true, writable: false });
}

/** conmon holds its end of the pipe for as long as it lives. */
function monitorOf(sync: Socket, conmon: number): Monitor {
  sync.removeAllListeners();
  const gone = new Promise<boolean>((resolve) => {
    sync.once('end', () => resolve(true)).once('error', () => resolve(true));
    sync.once('close', () => resolve(false));
  });
  sync.resume();
  sync.unref();
  sync.once('close', () => reap(conmon));
  return { gone, forget: () => void sync.destroy() };
}

function parseReport(line: string): { pid?: number; message?: string } {
  try {
    const report: unknown = JSON.parse(line);
    if (typeof report !== 'object' || report === null) return {};
    const value = 'data' in report ? report.data : 'pid' in report ? report.pid : undefined;
    const message = 'message' in report && typeof report.message === 'string' ? report.message : undefined;
    return {
      ...(typeof value === 'number' && value > 0 ? { pid: value } : {}),
      ...(message === undefined ? {} : { message }),
    };
  } catch {
    // conmon died before it could say anything; its standard error is all there is.
    return {};
  }
}

/** The runtime's errors that are the caller's doing are told apart by their text: it has no codes. */
function runtimeError(text: string): EngineError {
  const message = /"?(?:msg|error)"?[=:]\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text.trim();
  const isCommand =
    /executable file .{0,4096}not found|open executable: |exec: .*(no such file|permission denied|not a directory|is a directory)|exec format error/i;
  if (isCommand.test(text)) return new EngineError('invalid', `the command cannot be executed: ${inGosWords(message)}`);
  if (/no space left on device|disk quota exceeded/i.test(text)) return new EngineError('exhausted', message);
  if (/chdir to cwd|mkdir .* not a directory/i.test(text)) {
    return new EngineError('invalid', `workingDirectory cannot be used: ${message}`);
  }
  return new EngineError(
    'internal',
    `the runtime could not create the container: ${message === '' ? 'it said nothing' : message}`,
  );
}

/** Clients tell what was wrong with a command by the words of Go. crun has those of the C library, and no permission for what is no file. */
function inGosWords(message: string): string {
  return message
    .replace(/(?<=open executable: )Operation not permitted$/, 'Permission denied')
    .replace(/(?<=: )[A-Z](?=[a-z ]+$)/, (letter) => letter.toLowerCase());
}

export interface ReleaseRequest {
  id: string;
  layout: Layout;
  paths: ContainerPaths;
  runtime: Runtime;
}

/** Lets a created container run. Resolves when the command was executed, or the process is gone. */
export async function releaseContainer({ id, layout, paths, runtime }: ReleaseRequest): Promise<void> {
  if (runtime.isRunc) return readFifo(paths);
  takeBack('/dev/null');
  try {
    await run(runtime.path, ['--root', layout.runtimeRoot, 'start', id]);
  } catch (error) {
    throw runtimeError(error instanceof RunError ? error.stderr : String(error));
  }
}

/**
 * What `runc start` does, without the process: the container's first process waits until somebody reads its fifo, and
 * closes it by executing the command.
 */
async function readFifo(paths: ContainerPaths): Promise<void> {
  const fifo = join(paths.runtime, 'exec.fifo');
  // Nonblocking: opening must not hang where the process died before.
  let descriptor: number;
  try {
    descriptor = openSync(fifo, fileConstants.O_RDONLY | fileConstants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  const reader = new Socket({ fd: descriptor, readable: true, writable: false });
  try {
    reader.resume();
    await once(reader, 'end');
  } finally {
    reader.destroy();
    rmSync(fifo, { force: true });
  }
}

/**
 * Programs open `/dev/stdout` and `/dev/stderr` by name (nginx for its logs). The pipes behind them are the host root's,
 * who is nobody in the container: anybody who can reach them, which is this container alone, may write to them.
 */
export function openOutputs(pid: number): void {
  for (const descriptor of [1, 2]) chmodSync(`/proc/${pid}/fd/${descriptor}`, 0o622);
}

/** The process id in a file of conmon's; undefined where it is not there yet. */
export async function pidOf(file: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(file, 'utf8'));
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
