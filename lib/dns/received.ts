/** Replies of other servers, understood so far that they can be kept for a while, and told again to who asks the same. */
import { Flag, HEADER, INTERNET, RecordType, ResponseCode } from './message.ts';
import { skipName, textOfName } from './name.ts';
import type { ResourceRecord } from './record.ts';

export interface Received {
  bytes: Buffer;
  /** Where the question ends. */
  end: number;
  code: number;
  truncated: boolean;
  answers: Placed[];
  authority: Placed[];
  additional: Placed[];
}

/** A record, by where it is. */
interface Placed {
  name: number;
  type: number;
  /** Of the four bytes that say how long it may be kept. */
  ttlAt: number;
  dataAt: number;
  size: number;
}

/** Undefined where the message is no reply with one question, or is damaged. */
export function readReply(bytes: Buffer): Received | undefined {
  if (bytes.length < HEADER || bytes.readUInt16BE(4) !== 1) return undefined;
  const flags = bytes.readUInt16BE(2);
  const asked = skipName(bytes, HEADER);
  if ((flags & Flag.reply) === 0 || asked === undefined || asked + 4 > bytes.length) return undefined;
  const received: Received = {
    bytes,
    end: asked + 4,
    code: flags & 15,
    truncated: (flags & Flag.truncated) !== 0,
    answers: [],
    authority: [],
    additional: [],
  };
  let at = received.end;
  for (const [index, section] of [received.answers, received.authority, received.additional].entries()) {
    for (let left = bytes.readUInt16BE(6 + index * 2); left > 0; left -= 1) {
      const placed = readPlace(bytes, at);
      if (placed === undefined) return undefined;
      section.push(placed);
      at = placed.dataAt + placed.size;
    }
  }
  return received;
}

function readPlace(bytes: Buffer, name: number): Placed | undefined {
  const end = skipName(bytes, name);
  if (end === undefined || end + 10 > bytes.length) return undefined;
  const size = bytes.readUInt16BE(end + 8);
  const dataAt = end + 10;
  if (dataAt + size > bytes.length) return undefined;
  return { name, type: bytes.readUInt16BE(end), ttlAt: end + 4, dataAt, size };
}

/**
 * For how many seconds it may be told again: its records' least time, or of "there is nothing", what the zone says of that (RFC 2308, section 5).
 * 0: not at all.
 */
export function secondsToKeep(received: Received): number {
  const { bytes, answers, authority, code, truncated } = received;
  if (truncated || (code !== ResponseCode.ok && code !== ResponseCode.noSuchName)) return 0;
  const ttl = ({ ttlAt }: Placed): number => Math.max(0, bytes.readInt32BE(ttlAt));
  const wanted = bytes.readUInt16BE(received.end - 4);
  const isAnswered =
    code === ResponseCode.ok && answers.some(({ type }) => type === wanted || wanted === RecordType.any);
  const times = answers.map(ttl);
  if (!isAnswered) {
    const soa = authority.find(({ type, size }) => type === RecordType.soa && size >= 22);
    if (soa === undefined) return 0;
    times.push(ttl(soa), bytes.readUInt32BE(soa.dataAt + soa.size - 4));
  }
  return Math.min(...times);
}

/** Every record's time, less what has passed; not of OPT, where those bytes are something else. */
export function lessened({ bytes, answers, authority, additional }: Received, seconds: number): Buffer {
  const copy = Buffer.from(bytes);
  for (const { type, ttlAt } of [...answers, ...authority, ...additional]) {
    if (type !== RecordType.opt) copy.writeUInt32BE(Math.max(0, bytes.readUInt32BE(ttlAt) - seconds), ttlAt);
  }
  return copy;
}

/** Where names are in the data of types that may have them compressed: bytes before, then names, then bytes. */
const NAMES_IN: Partial<Record<number, { before: number; names: number }>> = {
  [RecordType.ns]: { before: 0, names: 1 },
  [RecordType.cname]: { before: 0, names: 1 },
  [RecordType.ptr]: { before: 0, names: 1 },
  [RecordType.dname]: { before: 0, names: 1 },
  [RecordType.mx]: { before: 2, names: 1 },
  [RecordType.srv]: { before: 6, names: 1 },
  [RecordType.soa]: { before: 0, names: 2 },
};

/** Its answers as records, to be written into another reply. Undefined where one cannot be understood. */
export function answersOf({ bytes, answers }: Received): ResourceRecord[] | undefined {
  const records: ResourceRecord[] = [];
  for (const { name, type, ttlAt, dataAt, size } of answers) {
    if (bytes.readUInt16BE(ttlAt - 2) !== INTERNET) continue;
    const owner = textOfName(bytes, name, { pointers: true })?.text;
    const data = dataOf(bytes.subarray(0, dataAt + size), dataAt, NAMES_IN[type]);
    if (owner === undefined || data === undefined) return undefined;
    records.push({ name: owner, type, ttl: bytes.readUInt32BE(ttlAt), data, plain: type === RecordType.srv });
  }
  return records;
}

function dataOf(
  bytes: Buffer,
  start: number,
  { before, names } = { before: bytes.length - start, names: 0 },
): (Buffer | string)[] | undefined {
  let at = start + before;
  if (at > bytes.length) return undefined;
  const parts: (Buffer | string)[] = [bytes.subarray(start, at)];
  for (let left = names; left > 0; left -= 1) {
    const name = textOfName(bytes, at, { pointers: true });
    if (name?.text === undefined) return undefined;
    parts.push(name.text);
    at = name.end;
  }
  return [...parts, bytes.subarray(at)];
}
