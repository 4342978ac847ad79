/** `/containers/{id}/exec` and `/exec/{id}/…`: a command is announced, then started; what it was stays to be asked for. */
import { randomBytes } from 'node:crypto';
import { drained } from '#lib/drained.ts';
import { EngineError, type ExecSession, type ExecSpec } from '../engine.ts';
import { type Document, Fields, readBody } from './body.ts';
import { answerEmpty, answerJson, type Call } from './call.ts';
import { DetachKeys, parseKeys } from './detach-keys.ts';
import { DockerError } from './errors.ts';
import { ownContainer, terminalSize } from './lifecycle.ts';
import { framed, openStream, send, type Stream } from './stream.ts';

interface Exec {
  id: string;
  container: string;
  spec: ExecSpec;
  attach: { stdin: boolean; stdout: boolean; stderr: boolean };
  detachKeys: Buffer;
  session?: ExecSession;
  started: boolean;
  exitCode?: number;
}

const MOST_KEPT = 1000;
/** By id. They live as long as the engine, as their processes do. */
const execs = new Map<string, Exec>();

export async function createExec(call: Call): Promise<void> {
  const container = ownContainer(call);
  const request = readExecRequest(await readBody(call));
  if (container.state !== 'running' && !call.docker.isRestarting(container.id))
    throw new DockerError(409, `container ${container.id} is not running`);
  if (container.paused === true)
    throw new DockerError(409, `Container ${container.id} is paused, unpause the container before exec`);
  if (call.docker.isRestarting(container.id))
    throw new DockerError(409, `Container ${container.id} is restarting, wait until the container is running`);
  const exec: Exec = { ...request, id: randomBytes(32).toString('hex'), container: container.id, started: false };
  execs.set(exec.id, exec);
  if (execs.size > MOST_KEPT) forgetOne();
  call.docker.happenings.about(container, `exec_create: ${exec.spec.command.join(' ')}`, { execID: exec.id });
  answerJson(call, { Id: exec.id }, 201);
}

/** @throws DockerError 400 */
export function readExecRequest(body: Document): Pick<Exec, 'spec' | 'attach' | 'detachKeys'> {
  const fields = new Fields(body);
  const command = fields.words('Cmd') ?? [];
  if (command.length === 0) throw new DockerError(400, 'No exec command specified');
  if (fields.flag('Privileged')) throw fields.refuse('Privileged', 'privileged commands are not run');
  const user = fields.text('User');
  const workingDirectory = fields.text('WorkingDir');
  return {
    spec: {
      command,
      env: fields.strings('Env') ?? [],
      ...(user === '' ? {} : { user }),
      ...(workingDirectory === '' ? {} : { workingDirectory }),
      tty: fields.flag('Tty'),
      stdin: fields.flag('AttachStdin'),
    },
    attach: {
      stdin: fields.flag('AttachStdin'),
      stdout: fields.flag('AttachStdout'),
      stderr: fields.flag('AttachStderr'),
    },
    detachKeys: parseKeys(fields.text('DetachKeys')),
  };
}

export async function startExec(call: Call): Promise<void> {
  const exec = findExec(call);
  const fields = new Fields(await readBody(call));
  if (exec.started) throw new DockerError(409, `Error: Exec command ${exec.id} has already run`);
  const container = call.engine.container(exec.container);
  if (container?.state !== 'running') throw new DockerError(409, `container ${exec.container} is not running`);
  const size = fields.document['ConsoleSize'];
  if (Array.isArray(size) && size.length === 2) exec.spec.size = { rows: Number(size[0]), columns: Number(size[1]) };
  exec.started = true;
  const detach = fields.flag('Detach');
  try {
    exec.session = await call.engine.exec(exec.container, { ...exec.spec, stdin: exec.attach.stdin && !detach });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    exec.exitCode = /no such file|not found/i.test(message) ? 127 : 126;
    if (detach || !(error instanceof EngineError) || error.code !== 'invalid') throw error;
    // As Docker does: the client reads why on the stream, and then asks for the exit status.
    const stream = openStream(call, exec.spec.tty === true);
    const line = Buffer.from(`${message}\r\n`);
    await send(stream, exec.spec.tty === true ? line : framed('stderr', line));
    stream.end();
    return;
  }
  const { session } = exec;
  call.docker.happenings.about(container, `exec_start: ${exec.spec.command.join(' ')}`, { execID: exec.id });
  const ended = session.exited.then(
    ({ code }) => {
      exec.exitCode = code;
      delete exec.session;
      call.docker.happenings.about(container, 'exec_die', { execID: exec.id, exitCode: String(code) });
    },
    () => {
      exec.exitCode = 255;
      delete exec.session;
    },
  );
  if (detach) {
    session.stdout.resume();
    session.stderr?.resume();
    return answerEmpty(call, 200);
  }
  const stream = openStream(call, exec.spec.tty === true);
  void takeInput(exec, session, stream).catch(() => session.stdin?.destroy());
  try {
    await Promise.all([
      giveOutput(exec, stream, 'stdout', session.stdout),
      session.stderr === undefined ? undefined : giveOutput(exec, stream, 'stderr', session.stderr),
    ]);
    await ended;
  } catch (error) {
    if (!stream.gone.aborted) throw error;
    // It goes on, and must not wait for somebody who reads.
    session.stdout.resume();
    session.stderr?.resume();
  } finally {
    stream.end();
  }
}

export async function resizeExec(call: Call): Promise<void> {
  findExec(call).session?.resize(terminalSize(call));
  answerEmpty(call, 200);
}

export async function inspectExec(call: Call): Promise<void> {
  const { id, container, spec, attach, session, started, exitCode } = findExec(call);
  const [entrypoint = '', ...rest] = spec.command;
  answerJson(call, {
    ID: id,
    Running: session !== undefined,
    ExitCode: exitCode ?? (started ? 0 : null),
    ProcessConfig: {
      tty: spec.tty === true,
      entrypoint,
      arguments: rest,
      privileged: false,
      ...(spec.user === undefined ? {} : { user: spec.user }),
    },
    OpenStdin: attach.stdin,
    OpenStderr: attach.stderr,
    OpenStdout: attach.stdout,
    CanRemove: false,
    ContainerID: container,
    DetachKeys: '',
    Pid: 0,
  });
}

/** As Docker shows them: null where there are none. */
export function runningExecs(container: string): string[] | null {
  const found = [...execs.values()].filter((exec) => exec.container === container && exec.session !== undefined);
  return found.length === 0 ? null : found.map(({ id }) => id);
}

function findExec(call: Call): Exec {
  const id = call.path['id'] ?? '';
  const exec = execs.get(id);
  if (exec === undefined || call.engine.container(exec.container) === undefined)
    throw new DockerError(404, `No such exec instance: ${id}`);
  return exec;
}

function forgetOne(): void {
  for (const [id, { session }] of execs) {
    if (session !== undefined) continue;
    execs.delete(id);
    return;
  }
}

async function takeInput(exec: Exec, { stdin }: ExecSession, { input, output }: Stream): Promise<void> {
  if (stdin === undefined) return void input.resume();
  const keys = exec.spec.tty === true ? new DetachKeys(exec.detachKeys) : undefined;
  // Its end must not take the output away.
  const chunks: AsyncIterable<Buffer> = input.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    const { bytes, detached } = keys?.push(chunk) ?? { bytes: chunk, detached: false };
    if (bytes.length > 0 && !stdin.write(bytes)) await drained(stdin);
    if (detached) return void output.end();
  }
  stdin.end();
}

/** What nobody wants to see is read all the same, or the command would wait. */
async function giveOutput(
  { attach, spec }: Exec,
  stream: Stream,
  name: 'stdout' | 'stderr',
  source: AsyncIterable<Buffer>,
): Promise<void> {
  for await (const chunk of source) {
    if (stream.gone.aborted || (!attach[name] && spec.tty !== true)) continue;
    await send(stream, spec.tty === true ? chunk : framed(name, chunk)).catch((error: unknown) => {
      if (!stream.gone.aborted) throw error;
    });
  }
}
