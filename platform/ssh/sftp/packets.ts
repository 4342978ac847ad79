/** Packets of the protocol, read and written (sections 3 to 7). Strings are bytes: one character each. */
import { type Attributes, type Entry, MOST_PACKET, SftpError, STATUS } from './sftp.ts';

export const REQUEST = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  extended: 200,
} as const;

const RESPONSE = { version: 2, status: 101, handle: 102, data: 103, name: 104, attrs: 105, extended: 201 } as const;
const FLAG = { size: 1, owner: 2, mode: 4, times: 8, extended: 0x80000000 } as const;
const VERSION = 3;

/** Whole packets without their lengths. @throws SftpError where a length is none */
export async function* packetsOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let have = 0;
  let wanted = 4;
  for await (const chunk of input) {
    parts.push(chunk);
    have += chunk.length;
    while (have >= wanted) {
      const whole = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts, have);
      const length = whole.readUInt32BE(0);
      if (length < 1 || length > MOST_PACKET)
        throw new SftpError(STATUS.badMessage, `A packet of ${length} bytes is refused`);
      wanted = 4 + length;
      if (have < wanted) {
        parts = [whole];
        break;
      }
      yield whole.subarray(4, wanted);
      const rest = whole.subarray(wanted);
      parts = rest.length === 0 ? [] : [rest];
      have = rest.length;
      wanted = 4;
    }
  }
}

/** The fields of a packet, one after another. @throws SftpError where it is shorter than it says */
export class Fields {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  number(): number {
    return this.#take(4).readUInt32BE(0);
  }

  /** Of 64 bits; none of files comes near to what is no safe integer. */
  long(): number {
    const value = Number(this.#take(8).readBigUInt64BE(0));
    if (!Number.isSafeInteger(value)) throw new SftpError(STATUS.failure, 'The offset is too large');
    return value;
  }

  bytes(): Buffer {
    return this.#take(this.number());
  }

  text(): string {
    return this.bytes().toString('latin1');
  }

  attributes(): Attributes {
    const flags = this.number();
    const attributes: Attributes = {};
    if (flags & FLAG.size) attributes.size = this.long();
    if (flags & FLAG.owner) attributes.owner = { user: this.number(), group: this.number() };
    if (flags & FLAG.mode) attributes.mode = this.number();
    if (flags & FLAG.times) attributes.times = { access: this.number(), modification: this.number() };
    return attributes;
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new SftpError(STATUS.badMessage, 'The packet is too short');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

const u64 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};

const string = (value: string | Buffer): Buffer => {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  return Buffer.concat([u32(bytes.length), bytes]);
};

function packet(type: number, ...parts: Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 1);
  return Buffer.concat([u32(length), Buffer.from([type]), ...parts]);
}

function attributesOf({ size, owner, mode, times }: Required<Attributes>): Buffer {
  return Buffer.concat([
    u32(FLAG.size | FLAG.owner | FLAG.mode | FLAG.times),
    u64(size),
    ...[owner.user, owner.group, mode, times.access, times.modification].map(u32),
  ]);
}

export interface NamedEntry extends Partial<Entry> {
  name: string;
  /** As `ls -l` writes it. */
  long: string;
}

export const answers = {
  version: (extensions: Record<string, string>): Buffer =>
    packet(RESPONSE.version, u32(VERSION), ...Object.entries(extensions).flat().map(string)),
  status: (id: number, status: number, message: string): Buffer =>
    packet(RESPONSE.status, u32(id), u32(status), string(Buffer.from(message)), string('')),
  handle: (id: number, handle: string): Buffer => packet(RESPONSE.handle, u32(id), string(handle)),
  data: (id: number, data: Buffer): Buffer => packet(RESPONSE.data, u32(id), string(data)),
  attributes: (id: number, attributes: Required<Attributes>): Buffer =>
    packet(RESPONSE.attrs, u32(id), attributesOf(attributes)),
  names: (id: number, entries: readonly NamedEntry[]): Buffer =>
    packet(
      RESPONSE.name,
      u32(id),
      u32(entries.length),
      ...entries.flatMap(({ name, long, attributes }) => [
        string(name),
        string(long),
        attributes ? attributesOf(attributes) : u32(0),
      ]),
    ),
  /** Of `limits@openssh.com`. */
  limits: (id: number, limits: readonly number[]): Buffer => packet(RESPONSE.extended, u32(id), ...limits.map(u64)),
};
