import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type Socket, createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { RecordType, ResponseCode } from '#lib/dns/message.ts';
import { questionOf } from '#testing/dns-fuzz.ts';
import { serveDns } from '#testing/dns-upstream.ts';
import type { Network } from '../../networks.ts';
import type { Named } from './names.ts';
import { NameServer } from './server.ts';

/** On addresses of the loopback, which all are this host's: the server at one, those who ask at others. */
const ADDRESS = '127.0.53.1';
const made = { driver: 'bridge' as const, gateway: '', reserved: [], labels: {}, options: {}, createdAt: 0 };
const networkOf = (id: string, internal: boolean): Network => ({
  ...made,
  id,
  name: id,
  subnet: '127.0.54.0/24',
  internal,
  isolated: false,
  chosen: false,
});
const attached = (network: string, ip: string, ...aliases: string[]): Named['attachments'] => [
  { network, ip, aliases, links: {} },
];

describe('the server for names', { timeout: 180_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'names-'));
  const networks = new Map([networkOf('open', false), networkOf('closed', true)].map((one) => [one.id, one]));
  const sandboxes: Named[] = [
    { sandbox: 'a', attachments: attached('open', '127.0.54.2', 'a') },
    {
      sandbox: 'six',
      attachments: [{ network: 'open', ip: '127.0.54.4', ip6: 'fd00::7', aliases: ['six'], links: {} }],
    },
    { sandbox: 'b', attachments: attached('closed', '127.0.54.3', 'b') },
    ...Array.from({ length: 60 }, (_, index) => ({
      sandbox: `many-${index}`,
      attachments: attached('open', `127.0.54.${100 + index}`, 'many'),
    })),
  ];
  let server: NameServer;
  let upstream: Awaited<ReturnType<typeof serveDns>>;
  const open = async (): Promise<NameServer> =>
    await NameServer.open({
      address: ADDRESS,
      portFile: join(directory, 'port'),
      source: { sandboxes: () => sandboxes, network: (id) => networks.get(id), isRunning: () => true },
      // The first of them does not answer.
      hostServers: async () => [
        { address: '127.0.53.99', port: 53 },
        { address: upstream.address, port: 53 },
      ],
      log: () => {},
    });
  before(async () => {
    upstream = await serveDns({ 'far.example': '203.0.113.9' });
    server = await open();
  });
  after(async () => {
    await server.close();
    await upstream[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const ask = async (from: string, message: Buffer): Promise<Buffer> => {
    const socket = createSocket('udp4');
    try {
      socket.bind(0, from);
      await once(socket, 'listening');
      socket.send(message, server.port, ADDRESS);
      const [reply] = (await once(socket, 'message', { signal: AbortSignal.timeout(30_000) })) as [Buffer];
      return reply;
    } finally {
      socket.close();
    }
  };
  const connect = async (from: string): Promise<Socket> => {
    const socket = createConnection({ host: ADDRESS, port: server.port, localAddress: from });
    await once(socket, 'connect');
    return socket;
  };
  const framed = (message: Buffer): Buffer =>
    Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
  const code = (reply: Buffer): number => reply.readUInt16BE(2) & 15;

  test('answers over UDP, cut where there is too much, and over TCP whole', async () => {
    const reply = await ask('127.0.54.2', questionOf('a', RecordType.a));
    assert.deepEqual([...reply.subarray(-4)], [127, 0, 54, 2]);
    const cut = await ask('127.0.54.2', questionOf('many', RecordType.a));
    assert.equal(cut.readUInt16BE(2) & 0x0200, 0x0200);
    const socket = await connect('127.0.54.2');
    // In pieces, and the next one before the first is answered.
    const both = Buffer.concat([framed(questionOf('many', RecordType.a)), framed(questionOf('a', RecordType.a))]);
    socket.write(both.subarray(0, 7));
    socket.end(both.subarray(7));
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    const read = Buffer.concat(chunks);
    assert.equal(read.readUInt16BE(2 + 6), 60);
    assert.ok(read.length > 2 + read.readUInt16BE(0));
  });

  test('answers with the address of the family that is asked for, and with names for either', async () => {
    const four = await ask('127.0.54.2', questionOf('six', RecordType.a));
    assert.deepEqual([four.readUInt16BE(6), ...four.subarray(-4)], [1, 127, 0, 54, 4]);
    const six = await ask('127.0.54.2', questionOf('six', RecordType.aaaa));
    assert.deepEqual([six.readUInt16BE(6), six.subarray(-16).toString('hex')], [1, `fd00${'0'.repeat(27)}7`]);
    assert.equal((await ask('127.0.54.2', questionOf('six', RecordType.any))).readUInt16BE(6), 2);
    const none = await ask('127.0.54.2', questionOf('a', RecordType.aaaa));
    assert.deepEqual([code(none), none.readUInt16BE(6)], [ResponseCode.ok, 0]);
    const pointer = `7${'.0'.repeat(27)}.0.0.d.f.ip6.arpa`;
    const name = await ask('127.0.54.2', questionOf(pointer, RecordType.ptr));
    assert.equal(name.toString('latin1', name.length - 10), '\x03six\x04open\0');
  });

  test('asks others in turn, also by TCP, but not for those in internal networks alone', async () => {
    const reply = await ask('127.0.54.2', questionOf('far.example', RecordType.a, { id: 0x4321 }));
    assert.deepEqual([reply.readUInt16BE(0), ...reply.subarray(-4)], [0x4321, 203, 0, 113, 9]);
    assert.equal(code(await ask('127.0.54.2', questionOf('none.example', RecordType.a))), ResponseCode.noSuchName);
    const socket = await connect('127.0.54.2');
    socket.write(framed(questionOf('far.example', RecordType.a)));
    const [whole] = (await once(socket, 'data')) as [Buffer];
    assert.deepEqual([...whole.subarray(-4)], [203, 0, 113, 9]);
    socket.destroy();
    const asked = upstream.asked.length;
    assert.equal(code(await ask('127.0.54.3', questionOf('far.example', RecordType.a))), ResponseCode.serverFailure);
    assert.equal(code(await ask('127.0.54.3', questionOf('a', RecordType.a))), ResponseCode.serverFailure);
    assert.equal(upstream.asked.length, asked);
  });

  test('says nothing to strangers, and goes on after nonsense', async () => {
    await assert.rejects(
      (async () => {
        const socket = createSocket('udp4');
        socket.bind(0, '127.0.54.250');
        await once(socket, 'listening');
        socket.send(questionOf('a', RecordType.a), server.port, ADDRESS);
        try {
          await once(socket, 'message', { signal: AbortSignal.timeout(200) });
        } finally {
          socket.close();
        }
      })(),
      { name: 'AbortError' },
    );
    const stranger = await connect('127.0.54.250');
    stranger.on('error', () => {});
    await once(stranger, 'close');
    assert.equal(code(await ask('127.0.54.2', Buffer.alloc(40))), ResponseCode.formatError);
    const socket = await connect('127.0.54.2');
    socket.write(Buffer.from([255, 255, 1]));
    socket.destroy();
    // More than one asker may have: the last are shut out, the others are served.
    const crowd = await Promise.all(Array.from({ length: 20 }, () => connect('127.0.54.2')));
    await Promise.race(
      crowd.map((one) =>
        once(
          one.resume().on('error', () => {}),
          'close',
        ),
      ),
    );
    for (const one of crowd) one.destroy();
    assert.equal(code(await ask('127.0.54.2', questionOf('a', RecordType.a))), ResponseCode.ok);
  });

  test('comes back at the same port', async () => {
    const { port } = server;
    await server.close();
    server = await open();
    assert.equal(server.port, port);
    assert.equal(code(await ask('127.0.54.2', questionOf('a', RecordType.a))), ResponseCode.ok);
  });
});
