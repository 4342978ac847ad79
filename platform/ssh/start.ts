/** Starts the ssh proxy. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Server } from 'ssh2';
import { once } from '#lib/once.ts';
import { Lockout } from '../uaa/lockout.ts';
import type { SshProxy, SshProxyOptions } from './ssh.ts';
import { Visit } from './visit.ts';

const MOST_VISITS = 1_000;
/** From one address, while nobody was let in on them. */
const MOST_STRANGERS = 20;

export async function startSshProxy(options: SshProxyOptions): Promise<SshProxy> {
  const lockout = new Lockout();
  const visits = new Map<string, Visit>();
  const strangersFrom = (address: string): number =>
    [...visits.values()].filter((visit) => visit.address === address && visit.isStranger).length;
  // Large, and needed by nobody until the first one comes.
  const protocol = once(async (): Promise<Server> => {
    const { default: ssh2 } = await import('ssh2');
    const made = new ssh2.Server({ hostKeys: [options.hostKey.privateKey], ident: 'sampan' });
    made.on('connection', (connection, { ip, port }) => visits.get(`${ip} ${port}`)?.serve(connection));
    return made;
  });
  const server = createServer((socket: Socket) => {
    const { remoteAddress: address = '', remotePort } = socket;
    const key = `${address} ${remotePort}`;
    socket.on('error', () => undefined); // Its close says as much.
    if (visits.size >= MOST_VISITS || strangersFrom(address) >= MOST_STRANGERS || lockout.remaining(address) > 0) {
      socket.destroy();
      return;
    }
    visits.set(key, new Visit({ ...options, lockout, socket, address }));
    socket.once('close', () => visits.delete(key));
    protocol().then(
      (made) => socket.destroyed || made.injectSocket(socket),
      (error: unknown) => {
        options.log('error', 'An ssh connection could not be served', { error: String(error) });
        socket.destroy();
      },
    );
  });
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(options.port, options.host ?? '0.0.0.0', done);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const visit of visits.values()) visit.end();
      await closed;
    },
  };
}
