import type { WebSocket } from 'ws';
import type { TransportSocket } from './transport.ts';

/** Messages as they come; the peer is told to wait while 64 are not read. */
function messagesOf(socket: WebSocket): AsyncIterable<Buffer> {
  const queue: Buffer[] = [];
  let ended = false;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  socket.on('message', (data: Buffer) => {
    queue.push(data);
    if (queue.length >= 64) socket.pause();
    wake?.();
  });
  socket.on('error', (error) => {
    failure = error;
    wake?.();
  });
  socket.on('close', () => {
    ended = true;
    wake?.();
  });
  return (async function* () {
    for (;;) {
      const message = queue.shift();
      if (message) {
        if (queue.length === 0 && socket.isPaused) socket.resume();
        yield message;
      } else if (failure) {
        throw failure;
      } else if (ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      }
    }
  })();
}

/**
 * A WebSocket of `ws` as a transport's. It listens at once: messages may follow the handshake before anybody asks for them, so
 * call it before the handshake is done, or in the moment that it is.
 */
export function transportSocket(socket: WebSocket): TransportSocket {
  const waiting = new Set<{ limit: number; resolve: () => void }>();
  const check = (): void => {
    for (const waiter of waiting) {
      if (socket.readyState === socket.OPEN && socket.bufferedAmount > waiter.limit) continue;
      waiting.delete(waiter);
      waiter.resolve();
    }
  };
  socket.on('close', check);
  return {
    get protocol() {
      return socket.protocol;
    },
    send: (message) => socket.send(message, check),
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    drained: (limit) =>
      new Promise((resolve) => {
        waiting.add({ limit, resolve });
        check();
      }),
    messages: messagesOf(socket),
    close: () => socket.close(),
  };
}
