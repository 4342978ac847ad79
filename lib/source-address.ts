/** Which of this host's addresses others see. */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';

/** Of documentation (RFC 5737): nobody's, so it is reached the way that the internet is. */
const SOMEWHERE = '192.0.2.1';

/** Of documentation, too (RFC 3849). */
const SOMEWHERE6 = '2001:db8::1';

/** The IPv6 address that packets to somewhere far leave with; undefined where there is no way out by IPv6. */
export async function sourceAddress6(target = SOMEWHERE6): Promise<string | undefined> {
  try {
    return await addressTo('udp6', target);
  } catch {
    return undefined;
  }
}

/**
 * The IPv4 address that packets to `target` leave with; nothing is sent. Without a way there the first that is not the
 * loopback's, and the loopback's where there is no other.
 */
export async function sourceAddress(target = SOMEWHERE): Promise<string> {
  try {
    return await addressTo('udp4', target);
  } catch {
    const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
  }
}

async function addressTo(type: 'udp4' | 'udp6', target: string): Promise<string> {
  const socket = createSocket(type);
  try {
    await new Promise<void>((done, fail) => {
      socket.connect(9, target, (error?: unknown) => (error === undefined ? done() : fail(error as Error)));
    });
    return socket.address().address;
  } finally {
    socket.close();
  }
}
