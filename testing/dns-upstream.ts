/** A name server for tests, on port 53 of some address of the loopback's: answers what it was given, by UDP and TCP, and NXDOMAIN for the rest. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ResponseCode, readQuery } from '#lib/dns/message.ts';
import { addressRecord } from '#lib/dns/record.ts';
import { type Reply, sizeLimit, writeReply } from '#lib/dns/reply.ts';

export interface TestDns {
  address: string;
  /** Names, in order. */
  asked: string[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** @param names  addresses;  @param replies  whole replies, to any type */
export async function serveDns(names: Record<string, string>, replies: Record<string, Reply> = {}): Promise<TestDns> {
  const address = `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
  const asked: string[] = [];
  const answer = (message: Buffer, tcp: boolean): Buffer => {
    const query = readQuery(message);
    if (query === undefined || typeof query === 'number') return Buffer.alloc(0);
    const { name = '', type } = query;
    asked.push(name);
    const limit = sizeLimit(query, tcp);
    const reply = replies[name];
    if (reply !== undefined) return writeReply(message, query, { ...reply, limit });
    const ip = names[name];
    const answers = ip === undefined || type !== 1 ? [] : [addressRecord(name, 60, ip)];
    return writeReply(message, query, { answers, code: ip === undefined ? ResponseCode.noSuchName : ResponseCode.ok });
  };
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => udp.send(answer(message, false), from.port, from.address));
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      const reply = answer(chunk.subarray(2), true);
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
