/** A name server for tests, on port 53 of some address of the loopback's: answers what it was given, by UDP and TCP, and NXDOMAIN for the rest. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Answer, ResponseCode, readQuery, writeReply } from '#engine/network/dns/message.ts';

export async function serveDns(
  names: Record<string, string>,
): Promise<{ address: string; asked: string[]; [Symbol.asyncDispose](): Promise<void> }> {
  const address = `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
  const asked: string[] = [];
  const answer = (message: Buffer): Buffer => {
    const query = readQuery(message);
    if (query === undefined || typeof query === 'number') return Buffer.alloc(0);
    asked.push(query.name ?? '');
    const ip = names[query.name ?? ''];
    const answers: Answer[] = ip === undefined || query.type !== 1 ? [] : [{ type: 'a', ip }];
    return writeReply(message, query, { answers, code: ip === undefined ? ResponseCode.noSuchName : ResponseCode.ok });
  };
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => udp.send(answer(message), from.port, from.address));
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      const reply = answer(chunk.subarray(2));
      const size = Buffer.alloc(2);
      size.writeUInt16BE(reply.length);
      socket.write(Buffer.concat([size, reply]));
    });
  });
  const listening = [once(udp, 'listening'), once(tcp, 'listening')];
  udp.bind(53, address);
  tcp.listen(53, address);
  await Promise.all(listening);
  return {
    address,
    asked,
    async [Symbol.asyncDispose]() {
      const closed = [once(udp, 'close'), once(tcp, 'close')];
      udp.close();
      tcp.close();
      await Promise.all(closed);
    },
  };
}
