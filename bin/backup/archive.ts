/**
 * A backup: one gzipped tar with everything that brings an instance back but images and volumes, whatever its state is kept in.
 *
 *   sampan-backup.json    what it is of: `Manifest`
 *   files/…               of the data directory: instance, authority, keys, secrets
 *   store/00000001 …      every key of the cluster's state at one revision, in order: a line of JSON with the key and the length of its
 *                         value, then the value; what rests encrypted is encrypted here too
 *   sha256                of the names, lengths and contents of all before it: a file without it was cut off
 */
import { createHash, type Hash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { PassThrough, Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import type { Entry, SnapshotPage } from '#cluster/store/store.ts';
import { readTar } from '#lib/tar/read.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';

const FORMAT = 1;

export interface Manifest {
  format: number;
  /** Of Sampan. */
  version: string;
  instance: string;
  /** RFC 3339. */
  createdAt: string;
  /** Of the state. */
  revision: number;
}

export interface BackupFile {
  /** Below the data directory. */
  path: string;
  mode: number;
  content: Uint8Array;
}

export class BackupError extends Error {
  /** `foreign`: no backup, or of another format; `damaged`: not as it was written. */
  readonly code: 'foreign' | 'damaged';
  constructor(code: BackupError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BackupError';
    this.code = code;
  }
}

const MANIFEST = 'sampan-backup.json';
const CHECKSUM = 'sha256';
const PAGE_BYTES = 4 << 20;
/** Of a part: a page with one very large value. */
const PART_LIMIT = 256 << 20;

export interface Backup {
  manifest: Omit<Manifest, 'format'>;
  files: readonly BackupFile[];
  pages: AsyncIterable<SnapshotPage>;
}

/** The bytes of the archive, as they are made. */
export function writeArchive(backup: Backup): Readable {
  const gzip = createGzip();
  // What goes wrong reaches the reader of the other end.
  pipeline(Readable.from(tarOf(backup)), gzip).catch(() => undefined);
  return gzip;
}

async function* tarOf({ manifest, files, pages }: Backup): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  const part = (name: string, data: Uint8Array, mode = 0o600): TarInput => {
    note(hash, name, data);
    return plain(name, data, mode);
  };
  yield* writeTar(
    (async function* () {
      yield part(MANIFEST, Buffer.from(`${JSON.stringify({ format: FORMAT, ...manifest }, null, 2)}\n`));
      for (const { path, mode, content } of files) yield part(`files/${path}`, content, mode);
      let number = 0;
      for await (const page of encodePages(pages)) yield part(`store/${String(++number).padStart(8, '0')}`, page);
      yield plain(CHECKSUM, Buffer.from(`${hash.digest('hex')}\n`), 0o600);
    })(),
  );
}

function plain(name: string, data: Uint8Array, mode: number): TarInput {
  return { name, type: 'file', mode, uid: 0, gid: 0, sizeBytes: data.byteLength, mtimeSeconds: 0, data };
}

function note(hash: Hash, name: string, data: Uint8Array): void {
  hash.update(`${name}\0${data.byteLength}\0`).update(data);
}

async function* encodePages(pages: AsyncIterable<SnapshotPage>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const { entries } of pages)
    for (const { key, value } of entries) {
      const head = Buffer.from(`${JSON.stringify({ key, bytes: value.byteLength })}\n`);
      parts.push(head, value);
      bytes += head.byteLength + value.byteLength;
      if (bytes < PAGE_BYTES) continue;
      yield Buffer.concat(parts);
      [parts, bytes] = [[], 0];
    }
  if (bytes > 0) yield Buffer.concat(parts);
}

function decodePage(page: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < page.length; ) {
    const end = page.indexOf(10, at);
    const { key, bytes } = JSON.parse(page.toString('utf8', at, end)) as { key: string; bytes: number };
    at = end + 1 + bytes;
    if (typeof key !== 'string' || !(bytes >= 0) || at > page.length) throw new RangeError('a value is cut off');
    const value = new Uint8Array(page.subarray(end + 1, at));
    // Revisions are given anew where it is restored.
    entries.push({ key, value, revision: 0, createRevision: 0 });
  }
  return entries;
}

export interface Archive {
  manifest: Manifest;
  files: BackupFile[];
  /** To be read to its end, once: it rejects there when the file is not as it was written. */
  pages: AsyncIterable<SnapshotPage>;
}

/** Reads up to the state. @throws BackupError */
export async function readArchive(source: Readable): Promise<Archive> {
  const parts = partsOf(source);
  try {
    const manifest = parseManifest((await parts.next()).value as Part | undefined);
    const files: BackupFile[] = [];
    let next = await parts.next();
    for (; next.done !== true && next.value.name.startsWith('files/'); next = await parts.next())
      files.push({ path: next.value.name.slice('files/'.length), mode: next.value.mode, content: next.value.data });
    return { manifest, files, pages: pagesFrom(parts, next, manifest.revision) };
  } catch (error) {
    await parts.return(undefined);
    throw error;
  }
}

interface Part {
  name: string;
  mode: number;
  data: Buffer;
}

async function* pagesFrom(
  parts: AsyncGenerator<Part>,
  first: IteratorResult<Part>,
  revision: number,
): AsyncGenerator<SnapshotPage> {
  for (let next = first; next.done !== true; next = await parts.next()) {
    const { name, data } = next.value;
    if (!name.startsWith('store/')) throw damaged(`it holds ${JSON.stringify(name)}`);
    let entries: Entry[];
    try {
      entries = decodePage(data);
    } catch (cause) {
      throw damaged(`${name} cannot be read`, cause);
    }
    yield { revision, entries };
  }
}

function parseManifest(part: Part | undefined): Manifest {
  let manifest: Partial<Manifest> | undefined;
  try {
    if (part?.name === MANIFEST) manifest = JSON.parse(part.data.toString()) as Partial<Manifest>;
  } catch {
    // As one that is none.
  }
  if (typeof manifest?.format !== 'number') throw new BackupError('foreign', 'it is no backup of Sampan');
  if (manifest.format === FORMAT && Number.isSafeInteger(manifest.revision)) return manifest as Manifest;
  throw new BackupError(
    'foreign',
    `it has format ${manifest.format}, written by version ${manifest.version}; this version reads format ${FORMAT}`,
  );
}

/** All but the checksum, which is checked. */
async function* partsOf(source: Readable): AsyncGenerator<Part> {
  const hash = createHash('sha256');
  let checked = false;
  try {
    for await (const entry of readTar(unzipped(source))) {
      if (entry.sizeBytes > PART_LIMIT) throw damaged(`${entry.name} has ${entry.sizeBytes} bytes`);
      const data = Buffer.concat(await Array.fromAsync(entry.data()));
      if (checked) throw damaged('something follows the checksum');
      if (entry.name === CHECKSUM) {
        checked = true;
        if (data.toString().trim() !== hash.digest('hex')) throw damaged('its checksum is wrong');
        continue;
      }
      note(hash, entry.name, data);
      yield { name: entry.name, mode: entry.mode, data };
    }
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw damaged((error as Error).message, error);
  }
  if (!checked) throw damaged('it was cut off');
}

function unzipped(source: Readable): AsyncIterable<Buffer> {
  const gunzip = createGunzip();
  const out = new PassThrough();
  pipeline(source, gunzip, out).catch((error: Error) => void out.destroy(error));
  return out;
}

function damaged(why: string, cause?: unknown): BackupError {
  return new BackupError('damaged', why, { cause });
}
