/** Objects out of a git pack (gitformat-pack): what a shallow clone sends. All of it comes from a stranger. */
import { createHash } from 'node:crypto';
import { inflateSync } from 'node:zlib';

export type GitType = 'commit' | 'tree' | 'blob' | 'tag';

export interface GitObject {
  type: GitType;
  data: Buffer;
}

const TYPES: Record<number, GitType> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' };
const OFFSET_DELTA = 6;
const NAME_DELTA = 7;

/** @param most  bytes of all objects together, unpacked */
export function readPack(pack: Buffer, most: number): Map<string, GitObject> {
  if (pack.length < 32 || pack.toString('latin1', 0, 4) !== 'PACK') throw new Error('the repository sent no pack');
  const body = pack.subarray(0, -20);
  if (!createHash('sha1').update(body).digest().equals(pack.subarray(-20)))
    throw new Error('the pack of the repository is damaged');
  const count = pack.readUInt32BE(8);
  const byName = new Map<string, GitObject>();
  const byOffset = new Map<number, GitObject>();
  const reader = new PackReader(body, most);
  for (let left = count; left > 0; left -= 1) {
    const { start, type, base, data } = reader.next();
    const found = base === undefined ? undefined : typeof base === 'number' ? byOffset.get(base) : byName.get(base);
    if (base !== undefined && found === undefined) throw new Error('the pack of the repository has a delta of nothing');
    const plain =
      found === undefined ? { type: typeOf(type), data } : { type: found.type, data: patched(found.data, data, most) };
    reader.count(found === undefined ? 0 : plain.data.length);
    byOffset.set(start, plain);
    byName.set(nameOf(plain), plain);
  }
  return byName;
}

function typeOf(code: number): GitType {
  const type = TYPES[code];
  if (type === undefined) throw new Error(`the pack of the repository has an object of type ${code}`);
  return type;
}

function nameOf({ type, data }: GitObject): string {
  return createHash('sha1').update(`${type} ${data.length}\0`).update(data).digest('hex');
}

interface Packed {
  start: number;
  type: number;
  /** Offset or name of what the data are a delta of. */
  base: number | string | undefined;
  data: Buffer;
}

class PackReader {
  readonly #bytes: Buffer;
  readonly #most: number;
  #at = 12;
  #total = 0;

  constructor(bytes: Buffer, most: number) {
    this.#bytes = bytes;
    this.#most = most;
  }

  count(bytes: number): void {
    this.#total += bytes;
    if (this.#total > this.#most) throw new Error(`the repository has more than ${this.#most} bytes`);
  }

  next(): Packed {
    const start = this.#at;
    let byte = this.#byte();
    const type = (byte >> 4) & 7;
    let size = byte & 15;
    for (let shift = 4; byte & 0x80; shift += 7) {
      byte = this.#byte();
      size += (byte & 0x7f) * 2 ** shift;
    }
    let base: number | string | undefined;
    if (type === OFFSET_DELTA) base = start - this.#distance();
    else if (type === NAME_DELTA) {
      base = this.#bytes.toString('hex', this.#at, this.#at + 20);
      this.#at += 20;
    }
    this.count(size);
    // The stream says by itself where it ends; zlib refuses what is longer than its header declares.
    const { buffer, engine } = inflateSync(this.#bytes.subarray(this.#at), {
      info: true,
      maxOutputLength: Math.max(1, size),
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    if (buffer.length !== size) throw new Error('the pack of the repository has an object of another size');
    this.#at += engine.bytesWritten;
    return { start, type, base, data: buffer };
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Error('the pack of the repository ends too early');
    return byte;
  }

  #distance(): number {
    let byte = this.#byte();
    let distance = byte & 0x7f;
    while (byte & 0x80) {
      byte = this.#byte();
      distance = (distance + 1) * 128 + (byte & 0x7f);
    }
    return distance;
  }
}

/** Applies a delta: copies of the base, and bytes of its own. */
function patched(base: Buffer, delta: Buffer, most: number): Buffer {
  let at = 0;
  const byte = (): number => {
    const value = delta[at++];
    if (value === undefined) throw new Error('a delta of the repository ends too early');
    return value;
  };
  const length = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const next = byte();
      value += (next & 0x7f) * 2 ** shift;
      if (!(next & 0x80)) return value;
    }
  };
  const field = (flags: number, first: number, count: number): number => {
    let value = 0;
    for (let index = 0; index < count; index += 1) if (flags & (1 << (first + index))) value += byte() * 256 ** index;
    return value;
  };
  const from = length();
  const to = length();
  if (from !== base.length || to > most) throw new Error('a delta of the repository does not fit');
  const parts: Buffer[] = [];
  let made = 0;
  while (at < delta.length) {
    const flags = byte();
    let part: Buffer;
    if (flags & 0x80) {
      const start = field(flags, 0, 4);
      const size = field(flags, 4, 3) || 0x10000;
      part = base.subarray(start, start + size);
      if (part.length !== size) throw new Error('a delta of the repository does not fit');
    } else {
      part = delta.subarray(at, at + flags);
      at += flags;
      if (flags === 0 || part.length !== flags) throw new Error('a delta of the repository does not fit');
    }
    made += part.length;
    if (made > to) throw new Error('a delta of the repository does not fit');
    parts.push(part);
  }
  if (made !== to) throw new Error('a delta of the repository does not fit');
  return Buffer.concat(parts);
}
