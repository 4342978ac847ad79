/** DNS messages for tests: a question, and any number of damaged ones. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Attachment, Network } from '#engine/networks.ts';
import { ResponseCode, isReplyTo, readQuery, writeRefusal, writeReply } from '#engine/network/dns/message.ts';
import { type NameSource, addressOfPointer, lookUp, lookUpAddress } from '#engine/network/dns/names.ts';

export function questionOf(name: string, type: number, id = 0x1234): Buffer {
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')]);
  return Buffer.concat([head, ...labels, Buffer.from([0, type >> 8, type & 255, 0, 1])]);
}

const NAMES = ['db', 'db.back', 'a.b.c.d.e', '7.0.20.172.in-addr.arpa', '__proto__', 'constructor', 'x'.repeat(63)];
const codes = new Set<unknown>(Object.values(ResponseCode));

/** A seed that is told where something fails: the bytes can be made again. */
export function fuzzMessages(count: number, seed = randomBytes(4).readUInt32BE()): void {
  const draw = generator(seed);
  for (let round = 0; round < count; round += 1) {
    const message = damaged(draw);
    try {
      handle(message);
    } catch (error) {
      throw new Error(`seed ${seed}, round ${round}: ${message.toString('hex')}`, { cause: error });
    }
  }
}

/** A good one with some bytes changed, cut or added; or nothing but chance. */
function damaged(draw: (limit: number) => number): Buffer {
  if (draw(8) === 0) return Buffer.from(Array.from({ length: draw(80) }, () => draw(256)));
  const message = questionOf(NAMES[draw(NAMES.length)] ?? '', [1, 12, 28, 255, 65_535][draw(5)] ?? 1, draw(65_536));
  for (let changes = draw(4); changes > 0; changes -= 1) message[draw(message.length)] = draw(256);
  const kept = draw(4) === 0 ? message.subarray(0, draw(message.length + 1)) : message;
  return draw(8) === 0 ? Buffer.concat([kept, Buffer.from(Array.from({ length: draw(40) }, () => draw(256)))]) : kept;
}

const network: Network = {
  id: 'n',
  name: 'back',
  driver: 'bridge',
  subnet: '172.20.0.0/24',
  gateway: '172.20.0.1',
  reserved: [],
  internal: false,
  isolated: false,
  labels: {},
  options: {},
  createdAt: 0,
  chosen: false,
};
const attachments: Attachment[] = [
  { network: 'n', ip: '172.20.0.7', aliases: ['db', 'a.b.c.d.e'], links: { x: 'db' } },
];
const asker = { sandbox: 's', attachments };
const source: NameSource = { sandboxes: () => [asker], network: () => network, isRunning: () => true };

/** What the server does with a message of somebody that it knows. */
function handle(message: Buffer): void {
  const query = readQuery(message);
  if (query === undefined) return;
  if (typeof query === 'number') {
    assert.ok(codes.has(query));
    assert.equal(writeRefusal(message, query).length, 12);
    return;
  }
  assert.ok(query.end <= message.length);
  const { name } = query;
  const pointer = name === undefined ? undefined : addressOfPointer(name);
  const told = pointer === undefined ? undefined : lookUpAddress(source, asker, pointer);
  const found = name === undefined ? undefined : lookUp(source, asker, name);
  const addresses = (found ?? []).map((ip) => ({ type: 'a' as const, ip }));
  const answers = told === undefined ? addresses : [{ type: 'ptr' as const, name: told }];
  const reply = writeReply(message, query, { answers, limit: 512 });
  assert.ok(reply.length <= 512 && isReplyTo(reply, message, query.end));
}

/** Numbers below a limit, the same for the same seed: a linear congruence, good enough to damage bytes with. */
function generator(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
