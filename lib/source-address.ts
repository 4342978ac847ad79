/** Which of this host's addresses others see. */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';

/** Of documentation (RFC 5737): nobody's, so it is reached the way that the internet is. */
const SOMEWHERE = '192.0.2.1';

/**
 * The IPv4 address that packets to `target` leave with; nothing is sent. Without a way there the first that is not the
 * loopback's, and the loopback's where there is no other.
 */
export async function sourceAddress(target = SOMEWHERE): Promise<string> {
  const socket = createSocket('udp4');
  try {
    await new Promise<void>((done, fail) => {
      socket.connect(9, target, (error?: unknown) => (error === undefined ? done() : fail(error as Error)));
    });
    return socket.address().address;
  } catch {
    const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
  } finally {
    socket.close();
  }
}
