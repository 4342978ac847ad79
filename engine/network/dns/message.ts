/**
 * The little of DNS messages that the server needs: one question read, a reply written. Bytes come from containers, which nobody
 * trusts: whatever they are, reading ends, and says what to do. Source: RFC 1035, section 4.
 */
import { addressBytes } from '../address-text.ts';

export const RecordType = { a: 1, ptr: 12, aaaa: 28, any: 255 } as const;
export const ResponseCode = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
} as const;
export type ResponseCode = (typeof ResponseCode)[keyof typeof ResponseCode];

export interface Query {
  id: number;
  /** Lower case, without the dot at the end; undefined where it has bytes that no name of ours has. */
  name: string | undefined;
  type: number;
  /** Where the question ends in the message. */
  end: number;
}

export type Answer = { type: 'a' | 'aaaa'; ip: string } | { type: 'ptr'; name: string };

const HEADER = 12;
const LARGEST_NAME = 255;
const INTERNET = 1;
/** Names come and go with containers. */
const SECONDS_TO_LIVE = 5;
/** The question's name, where it lies in every reply. */
const QUESTION_POINTER = 0xc000 | HEADER;

/** A number is the code to refuse it with; undefined where it is to be dropped without a word. */
export function readQuery(message: Buffer): Query | ResponseCode | undefined {
  if (message.length < HEADER) return undefined;
  const flags = message.readUInt16BE(2);
  // An answer to an answer would go around for ever.
  if ((flags & 0x8000) !== 0) return undefined;
  if ((flags & 0x7800) !== 0) return ResponseCode.notImplemented;
  if (message.readUInt16BE(4) !== 1) return ResponseCode.formatError;
  const name = readName(message);
  if (name === undefined || name.end + 4 > message.length) return ResponseCode.formatError;
  const type = message.readUInt16BE(name.end);
  if (message.readUInt16BE(name.end + 2) !== INTERNET) return ResponseCode.refused;
  return { id: message.readUInt16BE(0), name: name.text, type, end: name.end + 4 };
}

/** Without compression, which a first question cannot have. */
function readName(message: Buffer): { text: string | undefined; end: number } | undefined {
  const labels: string[] = [];
  let isPlain = true;
  for (let at = HEADER; at < message.length && at - HEADER < LARGEST_NAME; ) {
    const length = message.readUInt8(at);
    at += 1;
    if (length === 0) return { text: isPlain ? labels.join('.').toLowerCase() : undefined, end: at };
    if (length > 63 || at + length > message.length) return undefined;
    const label = message.toString('latin1', at, at + length);
    isPlain &&= /^[!-\-/-~]+$/.test(label);
    labels.push(label);
    at += length;
  }
  return undefined;
}

/** @param limit  bytes; what does not fit is left out, and the reply says that it is cut */
export function writeReply(
  message: Buffer,
  query: Query,
  { code = ResponseCode.ok, answers = [], limit = 65_535 }: { code?: ResponseCode; answers?: Answer[]; limit?: number },
): Buffer {
  const reply = [header(message, code), message.subarray(HEADER, query.end)];
  let length = query.end;
  let count = 0;
  for (const answer of answers) {
    const record = resourceRecord(answer);
    if (length + record.length > limit) break;
    reply.push(record);
    length += record.length;
    count += 1;
  }
  const bytes = Buffer.concat(reply);
  bytes.writeUInt16BE(1, 4);
  bytes.writeUInt16BE(count, 6);
  if (count < answers.length) bytes.writeUInt16BE(bytes.readUInt16BE(2) | 0x0200, 2);
  return bytes;
}

/** For what could not be read: the header alone. */
export function writeRefusal(message: Buffer, code: ResponseCode): Buffer {
  return header(message, code);
}

/** Answers to this question, and no other; undefined where the message is none. */
export function isReplyTo(reply: Buffer, question: Buffer, end: number): boolean {
  return (
    reply.length >= end &&
    (reply.readUInt16BE(2) & 0x8000) !== 0 &&
    reply.readUInt16BE(0) === question.readUInt16BE(0) &&
    reply.subarray(HEADER, end).equals(question.subarray(HEADER, end))
  );
}

function header(message: Buffer, code: ResponseCode): Buffer {
  const bytes = Buffer.alloc(HEADER);
  message.copy(bytes, 0, 0, 2);
  // A reply, recursion available; the operation and the wish for recursion as they were asked.
  bytes.writeUInt16BE(0x8080 | (message.readUInt16BE(2) & 0x7900) | code, 2);
  return bytes;
}

function resourceRecord(answer: Answer): Buffer {
  const data = answer.type === 'ptr' ? encodeName(answer.name) : addressBytes(answer.ip);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(QUESTION_POINTER, 0);
  head.writeUInt16BE(RecordType[answer.type], 2);
  head.writeUInt16BE(INTERNET, 4);
  head.writeUInt32BE(SECONDS_TO_LIVE, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** Labels that are too long for DNS are cut: nobody can ask for them. */
function encodeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  const parts = labels.map((label) => Buffer.from(label.slice(0, 63), 'latin1'));
  return Buffer.concat([...parts.flatMap((part) => [Buffer.from([part.length]), part]), Buffer.from([0])]).subarray(
    -255,
  );
}
