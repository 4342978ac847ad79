/**
 * A port whose number is known, and held, before there is who answers there: connections are handed on. A number that is only
 * looked up and let go may be somebody else's by the time it is listened on.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream';

export interface Door extends AsyncDisposable {
  readonly port: number;
  /** From now on connections go there; before, they are closed. */
  leadTo(port: number): void;
}

export async function openDoor(): Promise<Door> {
  let target: number | undefined;
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (incoming) => {
    if (target === undefined) {
      incoming.destroy();
      return;
    }
    const outgoing = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [incoming, outgoing]) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    }
    // Called when both directions are written out, or either broke.
    pipeline(incoming, outgoing, incoming, () => {
      incoming.destroy();
      outgoing.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    leadTo: (port) => {
      target = port;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
