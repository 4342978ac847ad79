/** A WebSocket to a node's agent, for exec from inside the process. `ws` is loaded when the first is opened. */
import type { WebSocket } from 'ws';
import type { TransportSocket } from '../client/transport.ts';
import type { AgentDialer } from './agent-dialer.ts';
import type { AgentTarget } from './pod-streams.ts';

/** Messages that wait to be read before the agent is told to wait. */
const MESSAGE_LIMIT = 64;

export async function openAgentSocket(
  agents: AgentDialer,
  { address, path }: AgentTarget,
  protocols: string[],
  signal: AbortSignal,
): Promise<TransportSocket> {
  const { WebSocket: Socket } = await import('ws');
  signal.throwIfAborted();
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  const tls = agents.tls(address) as object;
  const socket = new Socket(`wss://${host}:${address.port}${path}`, protocols, { ...tls, perMessageDeflate: false });
  const abort = () => socket.terminate();
  signal.addEventListener('abort', abort);
  socket.on('close', () => signal.removeEventListener('abort', abort));
  // Messages may follow the handshake at once: listen before it is done.
  const messages = messagesOf(socket);
  const waiting = new Set<{ limit: number; resolve: () => void }>();
  const check = () => {
    for (const waiter of waiting) {
      if (socket.readyState === socket.OPEN && socket.bufferedAmount > waiter.limit) continue;
      waiting.delete(waiter);
      waiter.resolve();
    }
  };
  socket.on('close', check);
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', (error) => reject(agents.unreachable(address, error)));
  });
  return {
    protocol: socket.protocol,
    send: (message) => socket.send(message, check),
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    drained: (limit) =>
      new Promise((resolve) => {
        waiting.add({ limit, resolve });
        check();
      }),
    messages,
    close: () => socket.close(),
  };
}

function messagesOf(socket: WebSocket): AsyncIterable<Buffer> {
  const queue: Buffer[] = [];
  let ended = false;
  let failure: Error | undefined;
  let wake: () => void = () => undefined;
  socket.on('message', (data: Buffer) => {
    queue.push(data);
    if (queue.length >= MESSAGE_LIMIT) socket.pause();
    wake();
  });
  socket.on('error', (error) => {
    failure = error;
    wake();
  });
  socket.on('close', () => {
    ended = true;
    wake();
  });
  return {
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const message = queue.shift();
        if (message !== undefined) {
          if (queue.length === 0 && socket.isPaused) socket.resume();
          yield message;
        } else if (failure !== undefined) throw failure;
        else if (ended) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
  };
}
