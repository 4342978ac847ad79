/** DNS messages for tests: a question, and any number of damaged ones. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type NameSource, lookUp, lookUpAddress } from '#engine/network/dns/names.ts';
import type { Attachment, Network } from '#engine/networks.ts';
import { ResponseCode, isReplyTo, readQuery } from '#lib/dns/message.ts';
import { addressOfPointer } from '#lib/dns/name.ts';
import { answersOf, lessened, readReply, secondsToKeep } from '#lib/dns/received.ts';
import { addressRecord, authorityRecord, nameRecord, serviceRecord, textRecord } from '#lib/dns/record.ts';
import { sizeLimit, writeRefusal, writeReply } from '#lib/dns/reply.ts';

export interface QuestionOptions {
  id?: number;
  /** With an OPT record that says so. */
  size?: number;
  version?: number;
}

export function questionOf(
  name: string,
  type: number,
  { id = 0x1234, size, version = 0 }: QuestionOptions = {},
): Buffer {
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, size === undefined ? 0 : 1]);
  const labels = name
    .split('.')
    .filter((label) => label !== '')
    .flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')]);
  const opt = size === undefined ? [] : [Buffer.from([0, 0, 41, size >> 8, size & 255, 0, version, 0, 0, 0, 0])];
  return Buffer.concat([head, ...labels, Buffer.from([0, type >> 8, type & 255, 0, 1]), ...opt]);
}

const NAMES = ['db', 'db.back', 'a.b.c.d.e', '7.0.20.172.in-addr.arpa', '__proto__', 'constructor', 'x'.repeat(63)];
const codes = new Set<unknown>(Object.values(ResponseCode));

/** A seed that is told where something fails: the bytes can be made again. */
export function fuzzMessages(count: number, seed = randomBytes(4).readUInt32BE()): void {
  const draw = generator(seed);
  for (let round = 0; round < count; round += 1) {
    const message = damaged(draw, round % 2 === 0 ? goodQuestion(draw) : goodReply(draw));
    try {
      handle(message);
      understand(message);
    } catch (error) {
      throw new Error(`seed ${seed}, round ${round}: ${message.toString('hex')}`, { cause: error });
    }
  }
}

type Draw = (limit: number) => number;

function goodQuestion(draw: Draw): Buffer {
  const type = [1, 12, 28, 255, 65_535][draw(5)] ?? 1;
  const edns = draw(2) === 0 ? {} : { size: draw(65_536), version: draw(2) };
  return questionOf(NAMES[draw(NAMES.length)] ?? '', type, { id: draw(65_536), ...edns });
}

/** With records of every kind that we write, so with compressed names in every place. */
function goodReply(draw: Draw): Buffer {
  const message = questionOf('a.b.c.d.e', 1, draw(2) === 0 ? {} : { size: 1232 });
  const query = readQuery(message);
  assert.ok(typeof query === 'object');
  const all = [
    nameRecord('cname', 'a.b.c.d.e', draw(1000), 'x.c.d.e'),
    addressRecord('x.c.d.e', draw(1000), '172.20.0.7'),
    addressRecord('x.c.d.e', draw(1000), 'fd00::7'),
    serviceRecord('_http._tcp.d.e', 5, { priority: 0, weight: 100, port: 80, target: 'b.c.d.e' }),
    textRecord('d.e', 5, '1.1.0'),
  ];
  const authority = authorityRecord('d.e', 5, { server: 'ns.d.e', mailbox: 'root.d.e', serial: 1, minimum: 5 });
  return writeReply(message, query, {
    answers: all.filter(() => draw(2) === 0),
    authority: draw(2) === 0 ? [authority] : [],
    additional: all.slice(1, 1 + draw(3)),
  });
}

/** Some bytes changed, cut or added; or nothing but chance. */
function damaged(draw: Draw, message: Buffer): Buffer {
  if (draw(8) === 0) return Buffer.from(Array.from({ length: draw(80) }, () => draw(256)));
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

/** What a server does with a message of somebody that it knows. */
function handle(message: Buffer): void {
  const query = readQuery(message);
  if (query === undefined) return;
  if (typeof query === 'number') {
    assert.ok(codes.has(query));
    assert.equal(writeRefusal(message, query).length, 12);
    return;
  }
  assert.ok(query.end <= message.length);
  const { name = '' } = query;
  const pointer = addressOfPointer(name);
  const told = pointer === undefined ? undefined : lookUpAddress(source, asker, pointer);
  const addresses = (lookUp(source, asker, name) ?? []).map((ip) => addressRecord(name, 5, ip));
  const answers = told === undefined ? addresses : [nameRecord('ptr', name, 5, told)];
  const limit = sizeLimit(query, false);
  const reply = writeReply(message, query, { answers, limit });
  assert.ok(reply.length <= limit && isReplyTo(reply, message, query.end));
  assert.equal(readReply(reply)?.answers.length, answers.length);
}

/** What a forwarder does with a message of a server. */
function understand(message: Buffer): void {
  const received = readReply(message);
  if (received === undefined) return;
  assert.ok(secondsToKeep(received) >= 0);
  assert.equal(lessened(received, 1).length, message.length);
  const question = questionOf('e', 1);
  const query = readQuery(question);
  const answers = answersOf(received);
  assert.ok(typeof query === 'object');
  if (answers !== undefined) assert.ok(writeReply(question, query, { answers, limit: 512 }).length <= 512);
}

/** Numbers below a limit, the same for the same seed: a linear congruence, good enough to damage bytes with. */
function generator(seed: number): Draw {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
