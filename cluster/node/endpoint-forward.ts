/**
 * `kubectl port-forward`: SPDY/3.1 on the connection itself, or inside a WebSocket's binary messages (kubectl 1.31 and later). For
 * each forwarded connection the client opens two streams of one `requestid`: `error`, which hears what went wrong, and `data`.
 * https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { WebSocket, WebSocketServer } from 'ws';
import { serveSpdy, type SpdyStream } from '#lib/spdy/connection.ts';
import type { NodeContext } from './context.ts';
import { EndpointError } from './endpoint-target.ts';
import { messageOf } from './errors.ts';
import type { PodWorkers } from './pods.ts';
import { isSpdy, switchToSpdy } from './remote-spdy.ts';
import type { Upgrade } from './remote-streams.ts';

const protocol = 'portforward.k8s.io';
const tunnelProtocol = `SPDY/3.1+${protocol}`;
/** For the second stream of a pair. */
const pairsWithin = 30_000;
const largestMessage = 16 * 1024 * 1024;

export async function serveForward(context: NodeContext, workers: PodWorkers, upgrade: Upgrade): Promise<void> {
  const [, namespace = '', name = ''] = upgrade.path;
  const worker = workers.find(namespace, name);
  if (!worker) throw new EndpointError(404, `pod "${name}" not found in namespace "${namespace}" on this node`);
  const pod = `${name}_${namespace}, uid ${worker.uid}`;
  const dial = async (port: number): Promise<Duplex> => {
    const sandbox = worker.sandbox();
    if (!sandbox) throw new Error('it has no sandbox: it does not run');
    return await context.engine.dialSandbox(sandbox.id, port);
  };
  const connection = await accept(upgrade);
  const pairs = new Pairs((port, streams) => void forward(port, streams, pod, dial));
  await serveSpdy(connection, (stream) => pairs.add(stream));
  pairs.close();
}

async function accept(upgrade: Upgrade): Promise<Duplex> {
  if (!isSpdy(upgrade.request)) return await acceptTunnel(upgrade);
  switchToSpdy(upgrade, protocol);
  return upgrade.socket;
}

let server: WebSocketServer | undefined;

/** `ws` takes a slash in a protocol's name for a malformed header: it is not shown the name, and the answer gets it by hand. */
async function acceptTunnel({ request, socket, head }: Upgrade): Promise<Duplex> {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (!offered.includes(tunnelProtocol))
    throw new EndpointError(400, `none of the protocols "${offered.join(', ')}" is known: offer ${tunnelProtocol}`);
  const { WebSocketServer: Server, createWebSocketStream } = await import('ws');
  if (!server) {
    server = new Server({ noServer: true, maxPayload: largestMessage, perMessageDeflate: false });
    server.on('headers', (headers) => void headers.push(`Sec-WebSocket-Protocol: ${tunnelProtocol}`));
  }
  const headers: IncomingHttpHeaders = request.headers;
  delete headers['sec-websocket-protocol'];
  const { promise, resolve } = Promise.withResolvers<WebSocket>();
  server.handleUpgrade(request, socket, head, resolve);
  const tunnel = createWebSocketStream(await promise);
  tunnel.on('error', () => tunnel.destroy());
  return tunnel;
}

interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
}

class Pairs {
  readonly #waiting = new Map<string, Pair & { timer: NodeJS.Timeout }>();
  readonly #onPair: (port: number, pair: Required<Pair>) => void;

  constructor(onPair: (port: number, pair: Required<Pair>) => void) {
    this.#onPair = onPair;
  }

  add(stream: SpdyStream): void {
    const type = stream.headers.get('streamtype');
    const port = Number(stream.headers.get('port'));
    if ((type !== 'error' && type !== 'data') || !Number.isInteger(port) || port < 1 || port > 65_535)
      return void stream.destroy();
    const id = `${port} ${stream.headers.get('requestid') ?? ''}`;
    const timer = setTimeout(() => this.#drop(id), pairsWithin);
    const pair = this.#waiting.get(id) ?? { timer };
    if (pair.timer !== timer) clearTimeout(timer);
    if (pair[type] !== undefined) return void stream.destroy();
    pair[type] = stream;
    this.#waiting.set(id, pair);
    const { error, data } = pair;
    if (error === undefined || data === undefined) return;
    clearTimeout(pair.timer);
    this.#waiting.delete(id);
    this.#onPair(port, { error, data });
  }

  #drop(id: string): void {
    const pair = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(pair?.timer);
    pair?.error?.destroy();
    pair?.data?.destroy();
  }

  close(): void {
    for (const id of [...this.#waiting.keys()]) this.#drop(id);
  }
}

/** Never rejects. The error stream says why there is no connection; of one that breaks off later either end sees as much. */
async function forward(
  port: number,
  { error, data }: Required<Pair>,
  pod: string,
  dial: (port: number) => Promise<Duplex>,
): Promise<void> {
  error.resume();
  let connection: Duplex;
  try {
    connection = await dial(port);
  } catch (cause) {
    error.end(`error forwarding port ${port} to pod ${pod}: ${messageOf(cause)}`);
    data.destroy();
    return;
  }
  try {
    await Promise.all([pipeline(data, connection), pipeline(connection, data)]);
  } catch {
    // The client or the program in the pod broke it off.
  }
  connection.destroy();
  error.end();
}
