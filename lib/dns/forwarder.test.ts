/** A forwarder with real servers on addresses of the loopback. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { questionOf } from '#testing/dns-fuzz.ts';
import { type TestDns, serveDns } from '#testing/dns-upstream.ts';
import { Forwarder } from './forwarder.ts';
import { Flag, type Query, RecordType, ResponseCode, readQuery } from './message.ts';
import { readReply } from './received.ts';
import { addressRecord, authorityRecord } from './record.ts';

let upstream: TestDns;
let now = 0;
const stop = new AbortController();
const soa = authorityRecord('example', 600, { server: 'ns.example', mailbox: 'root.example', serial: 1, minimum: 30 });

before(async () => {
  upstream = await serveDns(
    { 'far.example': '203.0.113.9' },
    {
      'none.example': { code: ResponseCode.noSuchName, authority: [soa] },
      'empty.example': { authority: [soa] },
      'unsure.example': { code: ResponseCode.noSuchName },
      'large.example': {
        answers: Array.from({ length: 90 }, (_, index) => addressRecord('large.example', 60, `203.0.113.${index}`)),
      },
    },
  );
});
after(async () => {
  stop.abort();
  await upstream[Symbol.asyncDispose]();
});

function forwarder(servers = [{ address: upstream.address, port: 53 }]): Forwarder {
  return new Forwarder({ servers: async () => servers, signal: stop.signal, now: () => now });
}

function read(message: Buffer): Query {
  const query = readQuery(message);
  assert.ok(typeof query === 'object');
  return query;
}

async function ask(asked: Forwarder, name: string, options: { limit?: number; size?: number } = {}): Promise<Buffer> {
  const message = questionOf(name, RecordType.a, options.size === undefined ? {} : { size: options.size });
  const reply = await asked.forward(message, read(message), options.limit ?? 512);
  assert.ok(reply !== undefined);
  assert.equal(reply.readUInt16BE(0), message.readUInt16BE(0));
  return reply;
}

const ttlOf = (reply: Buffer): number => {
  const received = readReply(reply);
  const [record] = [...(received?.answers ?? []), ...(received?.authority ?? [])];
  return record === undefined ? -1 : reply.readUInt32BE(record.ttlAt);
};

test('what is, and what is not, is remembered for as long as it is said to be, and told in the letters of the question', async () => {
  const asked = forwarder();
  now = 0;
  assert.deepEqual([...(await ask(asked, 'far.example')).subarray(-4)], [203, 0, 113, 9]);
  now = 20_000;
  const again = await ask(asked, 'FAR.example');
  assert.equal(again.toString('latin1', 13, 16), 'FAR');
  assert.equal(ttlOf(again), 40);
  await ask(asked, 'none.example');
  await ask(asked, 'empty.example');
  await ask(asked, 'unsure.example');
  const before = upstream.asked.length;
  now = 45_000;
  assert.equal((await ask(asked, 'none.example')).readUInt16BE(2) & 15, ResponseCode.noSuchName);
  assert.equal(readReply(await ask(asked, 'empty.example'))?.answers.length, 0);
  await ask(asked, 'unsure.example');
  assert.deepEqual(upstream.asked.slice(before), ['unsure.example'], 'nobody said for how long');
  now = 90_000;
  await ask(asked, 'none.example');
  assert.equal(ttlOf(await ask(asked, 'far.example')), 60);
  assert.equal(upstream.asked.length, before + 3);
});

test('what does not fit is fetched whole by TCP, and told in part to who takes no more', async () => {
  const asked = forwarder();
  const cut = await ask(asked, 'large.example');
  assert.ok((cut.readUInt16BE(2) & Flag.truncated) !== 0 && cut.length <= 512);
  const before = upstream.asked.length;
  const whole = await ask(asked, 'large.example', { limit: 65_535 });
  assert.equal(readReply(whole)?.answers.length, 90);
  assert.equal(upstream.asked.length, before, 'it is remembered whole');
  const other = await ask(asked, 'large.example', { size: 1232, limit: 1232 });
  assert.ok((other.readUInt16BE(2) & Flag.truncated) !== 0);
});

test('one question is under way once, and a loop ends', async () => {
  const loop = createSocket('udp4');
  loop.bind(0, '127.0.0.1');
  await once(loop, 'listening');
  const asked = forwarder([
    { address: '127.0.0.1', port: loop.address().port },
    { address: upstream.address, port: 53 },
  ]);
  let came = 0;
  const joined: Promise<unknown>[] = [];
  // The host's server, which asks us again; with the question as it came.
  loop.on('message', (message) => {
    came += 1;
    joined.push(asked.forward(message, read(message), 512));
  });
  const [one, other] = await Promise.all([ask(asked, 'far.example'), ask(asked, 'far.example')]);
  assert.ok(one.equals(other));
  assert.equal(came, 1);
  await Promise.all(joined);
  now += 3_600_000;
  await ask(asked, 'far.example');
  assert.equal(came, 1, 'one that did not answer is asked last');
  loop.close();
});

test('a server that fails is passed over, and believed where there is no other', async () => {
  const broken = await serveDns({}, { 'far.example': { code: ResponseCode.serverFailure } });
  const servers = [{ address: broken.address, port: 53 }];
  const failed = await ask(forwarder(servers), 'far.example');
  assert.equal(failed.readUInt16BE(2) & 15, ResponseCode.serverFailure);
  const found = await ask(forwarder([...servers, { address: upstream.address, port: 53 }]), 'far.example');
  assert.deepEqual([...found.subarray(-4)], [203, 0, 113, 9]);
  await broken[Symbol.asyncDispose]();
});
