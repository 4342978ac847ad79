/** Writes replies. The question is given back as it was asked, letter for letter, and names of records that are its own point to it. */
import { Flag, HEADER, INTERNET, type Query, RecordType, ResponseCode } from './message.ts';
import { labelsOf } from './name.ts';
import type { ResourceRecord } from './record.ts';

/** What an asker without EDNS takes by UDP. */
export const UDP_SIZE = 512;
/** What goes through any link in one piece (DNS flag day 2020). */
export const EDNS_SIZE = 1232;
const TCP_SIZE = 65_535;
const OPT_SIZE = 11;
/** Pointers have 14 bits. */
const POINTERS_END = 0x4000;

export interface Reply {
  code?: ResponseCode;
  answers?: readonly ResourceRecord[];
  authority?: readonly ResourceRecord[];
  /** What the asker would ask for next; left out where it does not fit. */
  additional?: readonly ResourceRecord[];
  /** It is the server's own to say. */
  authoritative?: boolean;
}

/** How long a reply may be. */
export function sizeLimit({ edns }: Query, tcp: boolean): number {
  if (tcp) return TCP_SIZE;
  return edns === undefined ? UDP_SIZE : Math.min(EDNS_SIZE, Math.max(UDP_SIZE, edns.size));
}

/** @param limit  bytes; records that do not fit are left out, and the reply says that it is cut */
export function writeReply(message: Buffer, query: Query, reply: Reply & { limit?: number } = {}): Buffer {
  const { code = ResponseCode.ok, answers = [], authority = [], additional = [], limit = TCP_SIZE } = reply;
  const writer = new Writer(message, query, limit - (query.edns === undefined ? 0 : OPT_SIZE));
  const counts = [writer.write(answers), 0, 0];
  let isCut = counts[0] !== answers.length;
  if (!isCut) {
    counts[1] = writer.write(authority);
    isCut = counts[1] !== authority.length;
  }
  if (!isCut) counts[2] = writer.write(additional);
  const opt = query.edns === undefined ? [] : [optRecord(code)];
  const bytes = Buffer.concat([writer.bytes(), ...opt]);
  writeHeader(bytes, message, code & 15);
  if (isCut) bytes.writeUInt16BE(bytes.readUInt16BE(2) | Flag.truncated, 2);
  if (reply.authoritative === true) bytes.writeUInt16BE(bytes.readUInt16BE(2) | Flag.authoritative, 2);
  for (const [index, count] of [1, counts[0] ?? 0, counts[1] ?? 0, (counts[2] ?? 0) + opt.length].entries())
    bytes.writeUInt16BE(count, 4 + index * 2);
  return bytes;
}

/** For what could not be read: the header alone. */
export function writeRefusal(message: Buffer, code: ResponseCode): Buffer {
  const bytes = Buffer.alloc(HEADER);
  writeHeader(bytes, message, code);
  return bytes;
}

/** A reply, recursion available; the number, the operation and the wish for recursion as they were asked. */
function writeHeader(bytes: Buffer, message: Buffer, code: number): void {
  message.copy(bytes, 0, 0, 2);
  const kept = message.readUInt16BE(2) & (0x7800 | Flag.recursionWanted | Flag.checkingDisabled);
  bytes.writeUInt16BE(Flag.reply | Flag.recursionAvailable | kept | code, 2);
}

function optRecord(code: number): Buffer {
  const bytes = Buffer.alloc(OPT_SIZE);
  bytes.writeUInt16BE(RecordType.opt, 1);
  bytes.writeUInt16BE(EDNS_SIZE, 3);
  bytes.writeUInt8(code >> 4, 5);
  return bytes;
}

class Writer {
  #bytes: Buffer;
  #length: number;
  readonly #limit: number;
  /** Where a name, or the end of one, is written already; by its lower case. */
  readonly #written = new Map<string, number>();

  constructor(message: Buffer, { name, end }: Query, limit: number) {
    this.#bytes = Buffer.alloc(Math.max(UDP_SIZE, end));
    this.#length = message.copy(this.#bytes, 0, 0, end);
    this.#limit = limit;
    let at = HEADER;
    for (let rest = name ?? ''; rest !== ''; ) {
      this.#written.set(rest, at);
      const label = rest.split('.', 1)[0] ?? '';
      at += 1 + label.length;
      rest = rest.slice(label.length + 1);
    }
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** How many of them fit. */
  write(records: readonly ResourceRecord[]): number {
    for (const [index, record] of records.entries()) {
      const start = this.#length;
      this.#record(record);
      if (this.#length <= this.#limit) continue;
      this.#length = start;
      return index;
    }
    return records.length;
  }

  #record({ name, type, ttl, data, plain }: ResourceRecord): void {
    this.#name(name, true);
    const head = Buffer.alloc(10);
    head.writeUInt16BE(type, 0);
    head.writeUInt16BE(INTERNET, 2);
    head.writeUInt32BE(ttl, 4);
    this.#append(head);
    const start = this.#length;
    for (const part of data) {
      if (typeof part === 'string') this.#name(part, plain !== true);
      else this.#append(part);
    }
    this.#bytes.writeUInt16BE(this.#length - start, start - 2);
  }

  #name(name: string, compress: boolean): void {
    const labels = labelsOf(name);
    for (const [index, label] of labels.entries()) {
      const rest = labels.slice(index).join('.').toLowerCase();
      const known = compress ? this.#written.get(rest) : undefined;
      if (known !== undefined) return this.#append(pointer(known));
      if (this.#length < POINTERS_END) this.#written.set(rest, this.#length);
      const bytes = Buffer.from(label, 'latin1');
      this.#append(Buffer.from([bytes.length]));
      this.#append(bytes);
    }
    this.#append(Buffer.from([0]));
  }

  #append(bytes: Buffer): void {
    const end = this.#length + bytes.length;
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    bytes.copy(this.#bytes, this.#length);
    this.#length = end;
  }
}

function pointer(to: number): Buffer {
  return Buffer.from([0xc0 | (to >> 8), to & 255]);
}
