/** Exec and attach: a command in a container, or the container's own process, over whichever protocol the client speaks. */
import type { Readable, Writable } from 'node:stream';
import { EngineError, type ExecSession } from '#engine/engine.ts';
import { drained } from '#lib/drained.ts';
import type { Status } from '../kinds/types/meta.ts';
import type { NodeContext } from './context.ts';
import { flag } from './endpoint-logs.ts';
import { definitionOf, EndpointError, runningTarget } from './endpoint-target.ts';
import { messageOf } from './errors.ts';
import type { PodWorkers } from './pods.ts';
import { acceptSpdy, isSpdy } from './remote-spdy.ts';
import type { RemoteStreams, Upgrade } from './remote-streams.ts';
import { acceptWebSocket } from './remote-websocket.ts';

interface Wishes {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

function wishesOf(query: URLSearchParams): Wishes {
  const either = (...names: string[]): boolean => names.some((name) => flag(query, name));
  const tty = flag(query, 'tty');
  return {
    tty,
    stdin: either('input', 'stdin'),
    stdout: either('output', 'stdout'),
    stderr: !tty && either('error', 'stderr'),
  };
}

async function accept(upgrade: Upgrade, { tty, ...streams }: Wishes): Promise<RemoteStreams> {
  if (!isSpdy(upgrade.request)) return await acceptWebSocket(upgrade);
  const wanted = Object.entries({ error: true, ...streams, resize: tty });
  return await acceptSpdy(
    upgrade,
    wanted.flatMap(([name, is]) => (is ? [name] : [])),
  );
}

export async function serveExec(context: NodeContext, workers: PodWorkers, upgrade: Upgrade): Promise<void> {
  const { query } = upgrade;
  const command = query.getAll('command');
  if (command.length === 0) throw new EndpointError(400, 'command is missing: name at least the program');
  const id = runningTarget(workers, upgrade.path.slice(1));
  const wishes = wishesOf(query);
  const { tty, stdin } = wishes;
  const remote = await accept(upgrade, wishes);
  let session: ExecSession;
  try {
    session = await context.engine.exec(id, { command, tty, stdin }, { signal: remote.gone });
  } catch (error) {
    await remote.finish(await refusal(remote, error));
    return;
  }
  remote.gone.addEventListener('abort', () => session.kill(), { once: true });
  if (remote.gone.aborted) session.kill();
  await remote.finish(await converse(remote, session));
}

/** The container's own input, and what it writes from now on; ends with it. */
export async function serveAttach({ engine }: NodeContext, workers: PodWorkers, upgrade: Upgrade): Promise<void> {
  const target = upgrade.path.slice(1);
  const id = runningTarget(workers, target);
  const definition = definitionOf(workers, target);
  const wishes = wishesOf(upgrade.query);
  if (wishes.stdin && !definition?.stdin)
    throw new EndpointError(400, `container "${target[2]}" has no standard input: set stdin in its spec, or use exec`);
  const tty = definition?.tty === true;
  const remote = await accept(upgrade, wishes);
  if (tty) remote.onResize((size) => void engine.resizeContainer(id, size).catch(() => undefined));
  const listening = Promise.withResolvers<void>();
  const take = async (): Promise<void> => {
    await listening.promise;
    await giveInput(remote, await engine.attachInput(id), definition?.stdinOnce === true && !tty);
  };
  const input = wishes.stdin ? take() : Promise.resolve(void remote.stdin.resume());
  // Where it failed the output is still shown.
  input.catch(() => void remote.stdin.resume());
  const follow = { raw: true, follow: true, tail: 0, onCaughtUp: listening.resolve, signal: remote.gone };
  try {
    await remote.send('stdout', Buffer.alloc(0));
    // Of a terminal everything is one stream.
    const streams = tty ? {} : { stdout: wishes.stdout, stderr: wishes.stderr };
    for await (const { stream, line } of engine.logs(id, { ...follow, ...streams }))
      await remote.send(tty ? 'stdout' : stream, line);
    await remote.finish(success);
  } catch (error) {
    if (!remote.gone.aborted) await remote.finish(failure(error));
  }
  listening.resolve();
  await input.catch(() => undefined);
}

/** Leaves the container's input open for the next, unless it is made for one client only. */
async function giveInput({ stdin, gone }: RemoteStreams, to: Writable, closes: boolean): Promise<void> {
  to.on('error', () => undefined); // It ended: the output's end says so.
  gone.addEventListener('abort', () => (closes ? to.end() : to.destroy()), { once: true });
  for await (const chunk of stdin as AsyncIterable<Buffer>) if (!to.destroyed && !to.write(chunk)) await drained(to);
  if (closes) to.end();
  else to.destroy();
}

async function converse(remote: RemoteStreams, session: ExecSession): Promise<Status> {
  remote.onResize((size) => session.resize(size));
  const { stdin } = session;
  // The process may end, or close its input, while more comes: that is its right.
  for (const end of ['error', 'close']) stdin?.on(end, () => remote.stdin.resume());
  if (stdin) remote.stdin.pipe(stdin);
  else remote.stdin.resume();
  try {
    // Says that it has begun: a client waits for this before it sends. Nothing is awaited before both are being read,
    // as the output of a process that ended already does not wait for long.
    const outputs = [remote.send('stdout', Buffer.alloc(0)), copy(remote, 'stdout', session.stdout)];
    if (session.stderr) outputs.push(copy(remote, 'stderr', session.stderr));
    await Promise.all(outputs);
    const { code } = await session.exited;
    return code === 0 ? success : exitStatus(code);
  } catch (error) {
    return failure(error);
  }
}

async function copy(remote: RemoteStreams, to: 'stdout' | 'stderr', from: Readable): Promise<void> {
  for await (const chunk of from) await remote.send(to, chunk as Buffer);
}

const success: Status = { metadata: {}, status: 'Success' };

function exitStatus(code: number): Status {
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  };
}

/** A command that cannot be executed ends as in a shell: with the reason on standard error, and 127 or 126. */
async function refusal(remote: RemoteStreams, error: unknown): Promise<Status> {
  if (!(error instanceof EngineError && error.code === 'invalid')) return failure(error);
  await remote.send('stderr', Buffer.from(`${error.message}\n`)).catch(() => undefined);
  return exitStatus(/no such file|not found/i.test(error.message) ? 127 : 126);
}

function failure(error: unknown): Status {
  return { metadata: {}, status: 'Failure', message: messageOf(error), reason: 'InternalError', code: 500 };
}
