/** What is in a jar, by its central directory (APPNOTE.TXT, 4.3.12 to 4.3.16), and small files of it. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { AppError } from '../../../lifecycle/words.ts';

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const LONGEST_COMMENT = 65_535;
const LARGEST_FILE = 1024 * 1024;

interface Entry {
  method: number;
  packedBytes: number;
  offset: number;
}

export interface Jar {
  names: string[];
  /** Attributes of the main section of META-INF/MANIFEST.MF. */
  manifest: Map<string, string>;
  /** Files whose name matches, each of at most 1 MiB. */
  texts: Map<string, string>;
}

/** What is no zip has no names. @throws AppError where a file in it cannot be read */
export function readJar(path: string, wanted?: RegExp): Jar {
  const file = openSync(path, 'r');
  try {
    const { entries, prefixBytes } = centralDirectory(file);
    const text = (entry: Entry) => content(file, { ...entry, offset: entry.offset + prefixBytes });
    const manifest = entries.get('META-INF/MANIFEST.MF');
    const texts = new Map<string, string>();
    for (const [name, entry] of entries) if (wanted?.test(name) === true) texts.set(name, text(entry));
    return {
      names: [...entries.keys()],
      manifest: parseManifest(manifest === undefined ? '' : text(manifest)),
      texts,
    };
  } catch (error) {
    throw new AppError(`${path} is damaged: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    closeSync(file);
  }
}

/** Something may stand before the zip, as the script of a jar that is a program: offsets are counted without it. */
function centralDirectory(file: number): { entries: Map<string, Entry>; prefixBytes: number } {
  const { size } = fstatSync(file);
  const begin = Math.max(0, size - LONGEST_COMMENT - END_BYTES);
  const tail = read(file, begin, size - begin);
  for (let at = tail.length - END_BYTES; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== END) continue;
    const large = zip64End(file, begin + at);
    const bytes = large?.bytes ?? tail.readUInt32LE(at + 12);
    const stated = large?.offset ?? tail.readUInt32LE(at + 16);
    const start = (large?.at ?? begin + at) - bytes;
    if (start < stated) continue;
    return { entries: entriesOf(read(file, start, bytes)), prefixBytes: start - stated };
  }
  return { entries: new Map(), prefixBytes: 0 };
}

/** Jars with more than 65,535 files, as shaded ones are, have their numbers in a record of their own. */
function zip64End(file: number, end: number): { at: number; bytes: number; offset: number } | undefined {
  if (end < LOCATOR_BYTES) return undefined;
  const locator = read(file, end - LOCATOR_BYTES, LOCATOR_BYTES);
  if (locator.readUInt32LE(0) !== LOCATOR_64) return undefined;
  const at = Number(locator.readBigUInt64LE(8));
  if (at > end) return undefined;
  const record = read(file, at, 56);
  if (record.length < 56 || record.readUInt32LE(0) !== END_64) return undefined;
  return { at, bytes: Number(record.readBigUInt64LE(40)), offset: Number(record.readBigUInt64LE(48)) };
}

function entriesOf(directory: Buffer): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (let at = 0; at + 46 <= directory.length; ) {
    const [name = 0, extra = 0, comment = 0] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field));
    const end = at + 46 + name;
    entries.set(directory.toString('utf8', at + 46, end), {
      method: directory.readUInt16LE(at + 10),
      packedBytes: directory.readUInt32LE(at + 20),
      offset: directory.readUInt32LE(at + 42),
    });
    at = end + extra + comment;
  }
  return entries;
}

function content(file: number, entry: Entry): string {
  if (entry.packedBytes > LARGEST_FILE) return '';
  const header = read(file, entry.offset, 30);
  if (header.length < 30) return '';
  const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const packed = read(file, start, entry.packedBytes);
  return (entry.method === 0 ? packed : inflateRawSync(packed, { maxOutputLength: LARGEST_FILE })).toString('utf8');
}

function read(file: number, offset: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, readSync(file, buffer, 0, length, offset));
}

/** Long lines go on after a line break and a space. */
export function parseManifest(text: string): Map<string, string> {
  const [main = ''] = text.replaceAll(/\r\n?/g, '\n').replaceAll('\n ', '').split('\n\n');
  const attributes = new Map<string, string>();
  for (const line of main.split('\n')) {
    const colon = line.indexOf(': ');
    if (colon > 0) attributes.set(line.slice(0, colon), line.slice(colon + 2).trim());
  }
  return attributes;
}
