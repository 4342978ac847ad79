/**
 * Exec and attach over WebSocket, `v5.channel.k8s.io` or `v4.channel.k8s.io`: binary messages whose first byte is the
 * channel (0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize; with v5, 255 and a channel closes that channel). The error
 * channel carries one Status at the end: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import { EngineError, type ExecSession, type TerminalSize } from '#engine/engine.ts';
import type { Status } from '../kinds/types/meta.ts';
import type { NodeContext } from './context.ts';
import { flag } from './endpoint-logs.ts';
import { EndpointError, runningTarget } from './endpoint-target.ts';
import { messageOf } from './errors.ts';
import type { PodWorkers } from './pods.ts';

const protocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const largestMessage = 16 * 1024 * 1024;

export interface Upgrade {
  path: string[];
  query: URLSearchParams;
  request: IncomingMessage;
  socket: Duplex;
  head: Buffer;
}

export async function serveExec(context: NodeContext, workers: PodWorkers, upgrade: Upgrade): Promise<void> {
  const { query } = upgrade;
  const command = query.getAll('command');
  if (command.length === 0) throw new EndpointError(400, 'command is missing: name at least the program');
  const id = runningTarget(workers, upgrade.path.slice(1));
  const tty = flag(query, 'tty');
  const stdin = flag(query, 'input') || flag(query, 'stdin');
  const abort = new AbortController();
  upgrade.socket.once('close', () => abort.abort());
  const socket = await accept(upgrade);
  let session: ExecSession;
  try {
    session = await context.engine.exec(id, { command, tty, stdin }, { signal: abort.signal });
  } catch (error) {
    await finish(socket, await refusal(socket, error));
    return;
  }
  socket.once('close', () => session.kill());
  await finish(socket, await converse(socket, session));
}

/** Shows what the container writes from now on, and ends with it. */
export async function serveAttach({ engine }: NodeContext, workers: PodWorkers, upgrade: Upgrade): Promise<void> {
  const id = runningTarget(workers, upgrade.path.slice(1));
  if (flag(upgrade.query, 'input') || flag(upgrade.query, 'stdin')) {
    throw new EndpointError(400, 'attach to standard input is not supported: use exec');
  }
  const abort = new AbortController();
  upgrade.socket.once('close', () => abort.abort());
  const socket = await accept(upgrade);
  socket.resume();
  try {
    await send(socket, channel.stdout, Buffer.alloc(0));
    for await (const { stream, line } of engine.logs(id, { follow: true, since: Date.now(), signal: abort.signal })) {
      await send(socket, channel[stream], Buffer.concat([line, Buffer.from('\n')]));
    }
    await finish(socket, success);
  } catch (error) {
    if (!abort.signal.aborted) await finish(socket, failure(error));
  }
}

let server: WebSocketServer | undefined;

async function accept({ request, socket, head }: Upgrade): Promise<WebSocket> {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  const chosen = protocols.find((name) => offered.includes(name));
  if (!chosen) {
    throw new EndpointError(
      400,
      `none of the protocols "${offered.join(', ')}" is known: offer ${protocols.join(' or ')}`,
    );
  }
  if (!server) {
    const { WebSocketServer: Server } = await import('ws');
    server = new Server({
      noServer: true,
      maxPayload: largestMessage,
      perMessageDeflate: false,
      handleProtocols: (names) => protocols.find((name) => names.has(name)) ?? false,
    });
  }
  const { promise, resolve } = Promise.withResolvers<WebSocket>();
  server.handleUpgrade(request, socket, head, resolve);
  const accepted = await promise;
  accepted.on('error', () => accepted.terminate());
  // What comes before there is somebody to read it stays in the socket.
  accepted.pause();
  return accepted;
}

async function converse(socket: WebSocket, session: ExecSession): Promise<Status> {
  receive(socket, session);
  socket.resume();
  try {
    // Says that it has begun: a client waits for this before it sends. Nothing is awaited before both are being read,
    // as the output of a process that ended already does not wait for long.
    const outputs = [send(socket, channel.stdout, Buffer.alloc(0)), copy(socket, channel.stdout, session.stdout)];
    if (session.stderr) outputs.push(copy(socket, channel.stderr, session.stderr));
    await Promise.all(outputs);
    const { code } = await session.exited;
    return code === 0 ? success : exitStatus(code);
  } catch (error) {
    return failure(error);
  }
}

function receive(socket: WebSocket, session: ExecSession): void {
  const { stdin } = session;
  // The process may end, or close its input, while more comes: that is its right.
  stdin?.on('error', () => {});
  socket.on('message', (data: Buffer) => {
    const kind = data[0];
    if (kind === channel.stdin && stdin) writeInput(socket, stdin, data.subarray(1));
    else if (kind === channel.resize) {
      const size = parseSize(data.subarray(1));
      if (size) session.resize(size);
    } else if (kind === channel.close && data[1] === channel.stdin) stdin?.end();
  });
}

function writeInput(socket: WebSocket, stdin: Writable, bytes: Buffer): void {
  if (stdin.writableEnded || stdin.destroyed || bytes.length === 0) return;
  if (stdin.write(bytes)) return;
  socket.pause();
  const resume = (): void => {
    stdin.off('drain', resume);
    stdin.off('close', resume);
    socket.resume();
  };
  stdin.once('drain', resume);
  stdin.once('close', resume);
}

/** The client's JSON, `{"Width": 80, "Height": 24}`. */
function parseSize(bytes: Buffer): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(bytes.toString()) as { Width?: unknown; Height?: unknown };
    const valid = (value: unknown): value is number =>
      Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
    return valid(Width) && valid(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    return undefined; // A size that cannot be read changes nothing.
  }
}

async function copy(socket: WebSocket, to: number, from: Readable): Promise<void> {
  for await (const chunk of from) await send(socket, to, chunk as Buffer);
}

/** Resolves when the bytes left: a slow client slows the command down. */
function send(socket: WebSocket, to: number, bytes: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (socket.readyState !== socket.OPEN) return Promise.reject(new Error('the client went away'));
  socket.send(Buffer.concat([Buffer.from([to]), bytes]), { binary: true }, (error) =>
    error ? reject(error) : resolve(),
  );
  return promise;
}

async function finish(socket: WebSocket, status: Status): Promise<void> {
  if (socket.isPaused) socket.resume();
  try {
    await send(socket, channel.error, Buffer.from(JSON.stringify(status)));
  } catch {
    // The client went away: nobody is left to be told.
  }
  socket.close(1000);
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
async function refusal(socket: WebSocket, error: unknown): Promise<Status> {
  if (!(error instanceof EngineError && error.code === 'invalid')) return failure(error);
  await send(socket, channel.stderr, Buffer.from(`${error.message}\n`)).catch(() => undefined);
  return exitStatus(/no such file|not found/i.test(error.message) ? 127 : 126);
}

function failure(error: unknown): Status {
  return { metadata: {}, status: 'Failure', message: messageOf(error), reason: 'InternalError', code: 500 };
}
