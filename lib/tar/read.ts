/**
 * Reads an archive as it streams by, holding one chunk and one header at a time. Every byte is taken as hostile:
 * lengths are limited, numbers are checked, and what cannot be understood exactly is refused, because two readers that
 * disagree on where an entry ends can be made to see two different archives.
 */
import { BLOCK, paddingAfter, TarError, type TarHeader, type TarType } from './tar.ts';

export interface TarEntry extends TarHeader {
  /** The entry's bytes; what is not read is skipped before the next entry comes. */
  data(): AsyncIterable<Buffer>;
}

export interface ReadOptions {
  /** How names are made strings; `utf8` refuses names that are none. Default `utf8`. */
  encoding?: 'utf8' | 'latin1';
  /** Of one pax header or long name. Default 1 MiB. */
  maxHeaderBytes?: number;
  /** Default 2,000,000. */
  maxEntries?: number;
}

/** @throws TarError on a malformed or truncated archive. Reads the source to its end, what follows the archive too. */
export async function* readTar(source: AsyncIterable<Uint8Array>, options: ReadOptions = {}): AsyncGenerator<TarEntry> {
  const bytes = new ByteReader(source);
  try {
    yield* readEntries(bytes, options);
    await bytes.drain();
  } finally {
    await bytes.close();
  }
}

async function* readEntries(bytes: ByteReader, options: ReadOptions): AsyncGenerator<TarEntry> {
  const maxHeaderBytes = options.maxHeaderBytes ?? 1024 * 1024;
  const maxEntries = options.maxEntries ?? 2_000_000;
  const decode = decoder(options.encoding ?? 'utf8');
  let global: [string, string][] = [];
  let extended: [string, string][] = [];
  let longName: string | undefined;
  let longLink: string | undefined;
  let entries = 0;
  let headers = 0;

  for (;;) {
    const block = await bytes.take(BLOCK, true);
    if (block === undefined) break;
    if (block.every((byte) => byte === 0)) {
      const second = await bytes.take(BLOCK, true);
      if (second?.some((byte) => byte !== 0)) throw new TarError('data after a lone block of zeroes');
      break;
    }
    verifyChecksum(block);
    const flag = String.fromCharCode(block[156] ?? 0);
    const size = parseNumber(block.subarray(124, 136), 'size');
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      if (size > maxHeaderBytes) throw new TarError(`extended header of ${size} bytes: more than ${maxHeaderBytes}`);
      headers += 1;
      if (headers > 8) throw new TarError('more than 8 extended headers ahead of one entry');
      const body = Buffer.from((await bytes.take(size)) ?? []);
      await bytes.skip(paddingAfter(size));
      if (flag === 'x') extended = [...extended, ...parsePax(body)];
      else if (flag === 'g') global = [...global, ...parsePax(body)].slice(-1000);
      else if (flag === 'L') longName = untilNul(body);
      else longLink = untilNul(body);
      continue;
    }
    entries += 1;
    headers = 0;
    if (entries > maxEntries) throw new TarError(`more than ${maxEntries} entries`);
    const header = entryHeader(block, flag, size, { records: [...global, ...extended], longName, longLink, decode });
    extended = [];
    longName = undefined;
    longLink = undefined;
    if (header === undefined) {
      await bytes.skip(size + paddingAfter(size));
      continue;
    }
    if (header.sparse?.format === 'gnu') header.sparse.extensions = await sparseExtensions(bytes, block);
    let left = header.sizeBytes;
    yield {
      ...header,
      async *data() {
        while (left > 0) {
          const chunk = await bytes.takeSome(left);
          left -= chunk.length;
          yield chunk;
        }
      },
    };
    await bytes.skip(left);
    // Docker's client closes its pipe before the last entry is padded (`docker build -f -`): nothing is lost by that.
    if ((await bytes.take(paddingAfter(header.sizeBytes), 'or end')) === undefined) break;
  }
}

interface Extensions {
  records: [string, string][];
  longName: string | undefined;
  longLink: string | undefined;
  decode: (bytes: string) => string;
}

const TYPES: Readonly<Record<string, TarType>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hard-link',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
};

/** Undefined for entries that stand for no file (GNU volume labels). */
function entryHeader(block: Buffer, flag: string, rawSize: number, extensions: Extensions): TarHeader | undefined {
  if (flag === 'V') return undefined;
  const known = Object.hasOwn(TYPES, flag) ? TYPES[flag] : undefined;
  if (known === undefined) throw new TarError(`entry type ${JSON.stringify(flag)} is not supported`);
  const records = new Map(extensions.records);
  const posix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = posix ? untilNul(block.subarray(345, 500)) : '';
  const plain = untilNul(block.subarray(0, 100));
  const rawName =
    records.get('GNU.sparse.name') ??
    records.get('path') ??
    extensions.longName ??
    (prefix === '' ? plain : `${prefix}/${plain}`);
  const rawLink = records.get('linkpath') ?? extensions.longLink ?? untilNul(block.subarray(157, 257));
  const type = known === 'file' && flag !== 'S' && rawName.endsWith('/') ? 'directory' : known;

  let sizeBytes = decimal(records, 'size') ?? rawSize;
  // Old archivers write a hard link's size without its data; no reader takes data there.
  if (type === 'hard-link') sizeBytes = 0;
  if (type !== 'file' && sizeBytes !== 0) {
    throw new TarError(`entry ${JSON.stringify(rawName)} is a ${type} with ${sizeBytes} bytes of data`);
  }
  const sparseRecords = extensions.records.filter(
    ([key]) => key.startsWith('GNU.sparse.') && key !== 'GNU.sparse.name',
  );
  const header: TarHeader = {
    name: extensions.decode(rawName).replace(/\/+$/, ''),
    type,
    mode: parseNumber(block.subarray(100, 108), 'mode') & 0o7777,
    uid: decimal(records, 'uid') ?? parseNumber(block.subarray(108, 116), 'uid'),
    gid: decimal(records, 'gid') ?? parseNumber(block.subarray(116, 124), 'gid'),
    sizeBytes,
    ...modified(records, block),
  };
  if (type === 'hard-link' || type === 'symlink') header.linkName = extensions.decode(rawLink);
  if (type === 'character-device' || type === 'block-device') {
    header.deviceMajor = parseNumber(block.subarray(329, 337), 'device');
    header.deviceMinor = parseNumber(block.subarray(337, 345), 'device');
  }
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (key.startsWith('SCHILY.xattr.')) xattrs.set(key.slice(13), Buffer.from(value, 'latin1'));
  }
  if (xattrs.size > 0) header.xattrs = xattrs;
  if (flag === 'S') {
    header.sparse = { format: 'gnu', header: Buffer.from(block.subarray(386, 495)), extensions: Buffer.alloc(0) };
  } else if (sparseRecords.length > 0 && type === 'file') {
    header.sparse = {
      format: 'pax',
      // GNU tar wants a name in the version 0.1 and 1.0 records; it is the entry's own.
      records: sparseRecords,
    };
  }
  return header;
}

/** GNU's old sparse format: further map blocks follow while the last one says so. */
async function sparseExtensions(bytes: ByteReader, header: Buffer): Promise<Buffer> {
  const blocks: Buffer[] = [];
  let more = header[482] !== 0;
  while (more) {
    if (blocks.length > 10_000) throw new TarError('sparse map with more than 10,000 blocks');
    const block = Buffer.from((await bytes.take(BLOCK)) ?? []);
    blocks.push(block);
    more = block[504] !== 0;
  }
  return Buffer.concat(blocks);
}

function modified(records: Map<string, string>, block: Buffer): { mtimeSeconds: number; mtimeNanoseconds?: number } {
  const text = records.get('mtime');
  if (text === undefined) return { mtimeSeconds: parseNumber(block.subarray(136, 148), 'mtime') };
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (match === null) throw new TarError(`pax mtime ${JSON.stringify(text)} is no time`);
  const whole = Number(match[2]);
  const fraction = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { mtimeSeconds: whole, mtimeNanoseconds: fraction };
  return fraction === 0
    ? { mtimeSeconds: -whole, mtimeNanoseconds: 0 }
    : { mtimeSeconds: -whole - 1, mtimeNanoseconds: 1_000_000_000 - fraction };
}

function decimal(records: Map<string, string>, key: string): number | undefined {
  const text = records.get(key);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new TarError(`pax ${key} ${JSON.stringify(text)} is no number`);
  return value;
}

/** Octal digits, or base 256 with the top bit set (GNU). */
function parseNumber(field: Buffer, what: string): number {
  const first = field[0] ?? 0;
  if (first === 0x80 || first === 0xff) {
    let value = first === 0xff ? -1n : 0n;
    for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
    if (first === 0xff && what !== 'mtime') throw new TarError(`negative ${what}`);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < -BigInt(Number.MAX_SAFE_INTEGER))
      throw new TarError(`${what} is out of range`);
    return Number(value);
  }
  const text = field
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trimStart();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw new TarError(`${what} ${JSON.stringify(text)} is no octal number`);
  return Number.parseInt(text, 8);
}

function parsePax(body: Buffer): [string, string][] {
  const records: [string, string][] = [];
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? '' : body.toString('latin1', at, space);
    const length = /^\d{1,8}$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = body.indexOf(0x3d, space);
    if (length === 0 || end > body.length || body[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw new TarError('malformed pax record');
    }
    const value = body.toString('latin1', equals + 1, end - 1);
    const key = body.toString('latin1', space + 1, equals);
    if (value.includes('\0') && !key.startsWith('SCHILY.xattr.')) throw new TarError(`pax ${key} holds a NUL`);
    records.push([key, value]);
    at = end;
  }
  return records;
}

function decoder(encoding: 'utf8' | 'latin1'): (bytes: string) => string {
  if (encoding === 'latin1') return (bytes) => bytes;
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return (bytes) => {
    try {
      return strict.decode(Buffer.from(bytes, 'latin1'));
    } catch (cause) {
      throw new TarError(`entry name ${JSON.stringify(bytes)} is not UTF-8`, { cause });
    }
  };
}

function untilNul(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end < 0 ? field.length : end);
}

function verifyChecksum(block: Buffer): void {
  const expected = parseNumber(block.subarray(148, 156), 'checksum');
  let sum = 8 * 0x20;
  for (let index = 0; index < BLOCK; index += 1) {
    if (index < 148 || index >= 156) sum += block[index] ?? 0;
  }
  if (sum !== expected) throw new TarError('wrong header checksum: this is no tar archive, or it is damaged');
}

class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** Exactly so many bytes; undefined when `optional` and the source ended before the first of them, or anywhere with `or end`. */
  async take(length: number, optional: boolean | 'or end' = false): Promise<Buffer | undefined> {
    if (this.#chunk.length >= length) return this.#cut(length);
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#chunk.length === 0 && !(await this.#fill())) {
        if (optional === 'or end' || (optional && missing === length)) return undefined;
        throw new TarError('the archive is truncated');
      }
      const part = this.#cut(Math.min(missing, this.#chunk.length));
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** Between 1 and so many bytes. */
  async takeSome(most: number): Promise<Buffer> {
    if (this.#chunk.length === 0 && !(await this.#fill())) throw new TarError('the archive is truncated');
    return this.#cut(Math.min(most, this.#chunk.length));
  }

  async skip(length: number): Promise<void> {
    let left = length;
    while (left > 0) left -= (await this.takeSome(left)).length;
  }

  async drain(): Promise<void> {
    do this.#chunk = Buffer.alloc(0);
    while (await this.#fill());
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  #cut(length: number): Buffer {
    const part = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    return part;
  }

  async #fill(): Promise<boolean> {
    for (;;) {
      const next = await this.#iterator.next();
      if (next.done === true) return false;
      if (next.value.byteLength === 0) continue;
      this.#chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      return true;
    }
  }
}
