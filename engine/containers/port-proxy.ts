/**
 * Passes on what came to a published port that no rule of the kernel could lead to its sandbox: an IPv6 client and a sandbox without
 * IPv6, or a client on `::1`, which the kernel translates for nobody. The sandbox sees this host's gateway, as with Docker's own proxy.
 * What strangers may keep busy is bounded; a connection ends with the engine.
 */
import { type Socket as Datagrams, createSocket } from 'node:dgram';
import { type Server, type Socket, createConnection, isIPv6 } from 'node:net';
import { pipeline } from 'node:stream/promises';

export interface Target {
  address: string;
  port: number;
}

const CONNECTIONS = 1024;
const ASKERS = 1024;
/** As Docker's proxy: when nothing comes back for that long, whoever asked has gone. */
const IDLE_MILLISECONDS = 90_000;

/** @returns ends what is open */
export function passOnConnections(server: Server, target: () => Target | undefined): () => void {
  const sockets = new Set<Socket>();
  server.maxConnections = CONNECTIONS;
  server.on('connection', (socket) => {
    const to = target();
    if (to === undefined) return void socket.destroy();
    const onward = createConnection({ host: to.address, port: to.port, allowHalfOpen: true });
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.setNoDelay();
      one.once('close', () => sockets.delete(one));
    }
    // Either end may go as it likes: then both are gone, and nobody else cares.
    void Promise.allSettled([pipeline(socket, onward), pipeline(onward, socket)]);
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

interface Asker {
  to: Target;
  onward: Datagrams;
  timer: NodeJS.Timeout;
}

/** @returns forgets who asked */
export function passOnDatagrams(held: Datagrams, target: () => Target | undefined): () => void {
  const askers = new Map<string, Asker>();
  const forget = (key: string): void => {
    const asker = askers.get(key);
    askers.delete(key);
    clearTimeout(asker?.timer);
    asker?.onward.close();
  };
  const meet = (key: string, from: { address: string; port: number }): Asker | undefined => {
    const to = target();
    if (to === undefined || askers.size >= ASKERS) return undefined;
    const onward = createSocket(isIPv6(to.address) ? 'udp6' : 'udp4').unref();
    const timer = setTimeout(() => forget(key), IDLE_MILLISECONDS).unref();
    onward.on('error', () => forget(key));
    onward.on('message', (reply, { address, port }) => {
      if (address !== to.address || port !== to.port) return;
      timer.refresh();
      held.send(reply, from.port, from.address, () => {});
    });
    const asker = { to, onward, timer };
    askers.set(key, asker);
    return asker;
  };
  // Nobody is told what could not be sent, as everywhere with datagrams.
  held.on('error', () => {});
  held.on('message', (message, from) => {
    const key = `${from.address} ${from.port}`;
    const asker = askers.get(key) ?? meet(key, from);
    asker?.onward.send(message, asker.to.port, asker.to.address, () => {});
  });
  return () => {
    for (const key of [...askers.keys()]) forget(key);
  };
}
