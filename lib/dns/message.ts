/**
 * DNS messages, as far as a server for names of its own and a forwarder need them: a question is read (here), a reply is written
 * (`reply.ts`) of records (`record.ts`), and a reply of another server is understood so far that it can be kept (`received.ts`).
 *
 * Bytes come from containers and from the network, which nobody trusts: whatever they are, reading ends, and says what to do.
 * Sources: RFC 1035 section 4, RFC 6891 (EDNS), RFC 2308 (negative answers), RFC 2782 (SRV).
 */
import { skipName, textOfName } from './name.ts';

export const RecordType = {
  a: 1,
  ns: 2,
  cname: 5,
  soa: 6,
  ptr: 12,
  mx: 15,
  txt: 16,
  aaaa: 28,
  srv: 33,
  dname: 39,
  opt: 41,
  transferPart: 251,
  transfer: 252,
  any: 255,
} as const;

export const ResponseCode = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
  /** Of EDNS: it takes an OPT record to say so. */
  badVersion: 16,
} as const;
export type ResponseCode = (typeof ResponseCode)[keyof typeof ResponseCode];

export const HEADER = 12;
export const INTERNET = 1;
/** Bits of the header's second word. */
export const Flag = {
  reply: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionWanted: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
} as const;

export interface Query {
  id: number;
  /** Lower case, without the dot at the end; undefined where it has bytes that no name of ours has. */
  name: string | undefined;
  type: number;
  /** Where the question ends in the message. */
  end: number;
  edns?: Edns;
}

export interface Edns {
  /** Bytes of UDP that the asker takes, as it says. */
  size: number;
  version: number;
  /** Wants the records of DNSSEC too (the DO bit). */
  signatures: boolean;
}

/** A number is the code to refuse it with; undefined where it is to be dropped without a word. */
export function readQuery(message: Buffer): Query | ResponseCode | undefined {
  if (message.length < HEADER) return undefined;
  const flags = message.readUInt16BE(2);
  // An answer to an answer would go around for ever.
  if ((flags & Flag.reply) !== 0) return undefined;
  if ((flags & 0x7800) !== 0) return ResponseCode.notImplemented;
  if (message.readUInt16BE(4) !== 1) return ResponseCode.formatError;
  // Without compression, which a first question cannot have.
  const name = textOfName(message, HEADER, { pointers: false });
  if (name === undefined || name.end + 4 > message.length) return ResponseCode.formatError;
  const query: Query = {
    id: message.readUInt16BE(0),
    name: name.text?.toLowerCase(),
    type: message.readUInt16BE(name.end),
    end: name.end + 4,
  };
  if (message.readUInt16BE(name.end + 2) !== INTERNET) return ResponseCode.refused;
  const edns = readEdns(message, query.end);
  if (edns === 'damaged') return ResponseCode.formatError;
  return edns === undefined ? query : { ...query, edns };
}

/** Of what may follow a question, the OPT record says something; it is there once at most. */
function readEdns(message: Buffer, start: number): Edns | undefined | 'damaged' {
  const counts = [6, 8, 10].map((at) => message.readUInt16BE(at));
  let edns: Edns | undefined;
  let at = start;
  for (let left = counts.reduce((sum, count) => sum + count, 0); left > 0; left -= 1) {
    const end = skipName(message, at);
    if (end === undefined || end + 10 > message.length) return 'damaged';
    const type = message.readUInt16BE(end);
    if (type === RecordType.opt) {
      if (edns !== undefined || end !== at + 1) return 'damaged';
      edns = {
        size: message.readUInt16BE(end + 2),
        version: message.readUInt8(end + 5),
        signatures: (message.readUInt16BE(end + 6) & 0x8000) !== 0,
      };
    }
    at = end + 10 + message.readUInt16BE(end + 8);
    if (at > message.length) return 'damaged';
  }
  return edns;
}

/** Answers to this question, and no other. */
export function isReplyTo(reply: Buffer, question: Buffer, end: number): boolean {
  return (
    reply.length >= end &&
    (reply.readUInt16BE(2) & Flag.reply) !== 0 &&
    reply.readUInt16BE(0) === question.readUInt16BE(0) &&
    reply.subarray(HEADER, end).equals(question.subarray(HEADER, end))
  );
}
