/**
 * Writes archives byte for byte the same from the same entries: no time, no user name, no padding of its own.
 * What does not fit ustar's fields goes into a pax header ahead of the entry, its records in sorted order.
 */
import { BLOCK, paddingAfter, TarError, type TarHeader, TYPE_FLAGS } from './tar.ts';

/** The end of an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

/** An entry with its data: bytes at hand, or a stream of exactly `sizeBytes`. */
export interface TarInput extends TarHeader {
  data?: Uint8Array | AsyncIterable<Uint8Array>;
}

export interface WriteOptions {
  /** How names are turned into bytes; see `tar.ts`. Default `utf8`. */
  encoding?: 'utf8' | 'latin1';
}

/** The whole archive, streamed. @throws TarError when an entry's data are not `sizeBytes` long */
export async function* writeTar(
  entries: Iterable<TarInput> | AsyncIterable<TarInput>,
  options: WriteOptions = {},
): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) {
    yield encodeHeader(entry, options);
    let written = 0;
    if (entry.data instanceof Uint8Array) {
      written = entry.data.byteLength;
      if (written === entry.sizeBytes && written > 0) yield entry.data;
    } else if (entry.data !== undefined) {
      for await (const chunk of entry.data) {
        written += chunk.byteLength;
        if (written > entry.sizeBytes) break;
        yield chunk;
      }
    }
    if (written !== entry.sizeBytes) {
      throw new TarError(`entry ${JSON.stringify(entry.name)}: its data are not ${entry.sizeBytes} bytes long`);
    }
    const padding = paddingAfter(entry.sizeBytes);
    if (padding > 0) yield TAR_END.subarray(0, padding);
  }
  yield TAR_END;
}

/** The blocks that go ahead of an entry's data. */
export function encodeHeader(entry: TarHeader, options: WriteOptions = {}): Buffer {
  const encoding = options.encoding ?? 'utf8';
  const records: [string, Buffer][] = [];
  const block = Buffer.alloc(BLOCK);

  const name = Buffer.from(entry.type === 'directory' ? `${entry.name}/` : entry.name, encoding);
  if (name.length > 100) records.push(['path', name]);
  name.copy(block, 0, 0, Math.min(name.length, 100));

  const linkName = Buffer.from(entry.linkName ?? '', encoding);
  if (linkName.length > 100) records.push(['linkpath', linkName]);
  linkName.copy(block, 157, 0, Math.min(linkName.length, 100));

  octal(block, 100, 8, entry.mode & 0o7777);
  number(block, 108, 8, entry.uid, 'uid', records);
  number(block, 116, 8, entry.gid, 'gid', records);
  number(block, 124, 12, entry.sizeBytes, 'size', records);
  time(block, entry, records);
  block.write(entry.sparse?.format === 'gnu' ? 'S' : TYPE_FLAGS[entry.type], 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  if (entry.type === 'character-device' || entry.type === 'block-device') {
    number(block, 329, 8, entry.deviceMajor ?? 0, 'SCHILY.devmajor', records);
    number(block, 337, 8, entry.deviceMinor ?? 0, 'SCHILY.devminor', records);
  }
  for (const [key, value] of entry.xattrs ?? []) records.push([`SCHILY.xattr.${key}`, value]);

  records.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
  const parts: Buffer[] = [];
  if (entry.sparse?.format === 'pax') {
    // Their order carries meaning (offset and numbytes alternate), so they are not sorted.
    for (const [key, value] of entry.sparse.records) records.push([key, Buffer.from(value, 'latin1')]);
  }
  if (records.length > 0) parts.push(encodePax(records));
  if (entry.sparse?.format === 'gnu') {
    block.write('ustar  \0', 257, 'latin1');
    entry.sparse.header.copy(block, 386);
  }
  checksum(block);
  parts.push(block);
  if (entry.sparse?.format === 'gnu') parts.push(entry.sparse.extensions);
  return parts.length === 1 ? block : Buffer.concat(parts);
}

function encodePax(records: readonly [string, Buffer][]): Buffer {
  const body = Buffer.concat(
    records.map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), value, Buffer.from('\n')]);
      // The length counts its own digits.
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
  const block = Buffer.alloc(BLOCK);
  block.write('PaxHeader', 0, 'latin1');
  octal(block, 100, 8, 0o644);
  octal(block, 108, 8, 0);
  octal(block, 116, 8, 0);
  octal(block, 124, 12, body.length);
  octal(block, 136, 12, 0);
  block.write('x', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  checksum(block);
  return Buffer.concat([block, body, TAR_END.subarray(0, paddingAfter(body.length))]);
}

function time(block: Buffer, entry: TarHeader, records: [string, Buffer][]): void {
  const nanoseconds = entry.mtimeNanoseconds ?? 0;
  const seconds = entry.mtimeSeconds;
  const fits = seconds >= 0 && seconds < 8 ** 11;
  octal(block, 136, 12, fits ? seconds : 0);
  if (fits && nanoseconds === 0) return;
  // Nanoseconds count upwards from the whole second, pax writes one decimal number: they differ below zero.
  const negative = seconds < 0;
  const whole = negative && nanoseconds > 0 ? seconds + 1 : seconds;
  const fraction = negative && nanoseconds > 0 ? 1_000_000_000 - nanoseconds : nanoseconds;
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
  const sign = negative && whole === 0 ? '-' : '';
  records.push(['mtime', Buffer.from(`${sign}${whole}${digits}`)]);
}

function number(
  block: Buffer,
  offset: number,
  length: number,
  value: number,
  key: string,
  records: [string, Buffer][],
): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new TarError(`${key} ${value} is no whole number from 0`);
  const fits = value < 8 ** (length - 1);
  octal(block, offset, length, fits ? value : 0);
  if (!fits) records.push([key, Buffer.from(String(value))]);
}

function octal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
}

function checksum(block: Buffer): void {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
