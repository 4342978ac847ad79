/**
 * Reads the zip of an upload (APPNOTE.TXT by PKWARE). The central directory decides; every entry is judged by `refuse.ts`
 * before a byte of it is unpacked, and unpacked never beyond what it declares, so a bomb is known by its size.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import { Readable } from 'node:stream';
import yauzl from 'yauzl';
import { StagingError } from '../staging.ts';
import { type BitsLimits, checkLink, refuse, sourcePath } from './refuse.ts';

export interface ZipFile {
  path: string;
  type: 'file' | 'link' | 'directory';
  mode: number;
  sizeBytes: number;
  read(): AsyncIterable<Buffer>;
}

interface Entry {
  path: string;
  type: ZipFile['type'];
  mode: number;
  entry: yauzl.Entry;
}

const DEFLATE = 8;
/** Up to so many bytes a file is unpacked at once, which is ten times faster than a stream for it. */
const SMALL = 1024 * 1024;
const S_IFMT = 0o170000;

/** Directories and files in no particular order. `use` must be done with the entries before the file is closed. */
export async function withZip<Result>(
  path: string,
  limits: BitsLimits,
  use: (files: ZipFile[]) => Promise<Result>,
): Promise<Result> {
  const file = await open(path, 'r');
  try {
    const zip = await openZip(file);
    const entries = await readDirectory(zip, limits);
    const files = entries.map((entry) => zipFile(file, zip, entry));
    for (const each of files) {
      if (each.type !== 'link') continue;
      checkLink(each.path, (await contentOf(each)).toString('utf8'));
    }
    return await use(files);
  } finally {
    await file.close();
  }
}

async function openZip(file: FileHandle): Promise<yauzl.ZipFile> {
  // `fromFd` is given a descriptor that stays ours: the handle closes it.
  const fromFd = promisify<number, yauzl.Options, yauzl.ZipFile>(yauzl.fromFd);
  try {
    return await fromFd(file.fd, { lazyEntries: true, autoClose: false, decodeStrings: false, validateEntrySizes: true });
  } catch (error) {
    throw new StagingError('invalid-bits', `the upload is no zip file: ${messageOf(error)}`, { cause: error });
  }
}

async function readDirectory(zip: yauzl.ZipFile, limits: BitsLimits): Promise<Entry[]> {
  if (zip.entryCount > limits.files) {
    throw new StagingError('too-large', `the upload has ${zip.entryCount} entries, more than ${limits.files}: leave out what the app does not need (.cfignore)`);
  }
  const entries: Entry[] = [];
  let bytes = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  zip.on('error', (error: Error) => reject(new StagingError('invalid-bits', `the upload is no valid zip file: ${error.message}`, { cause: error })));
  zip.on('end', resolve);
  zip.on('entry', (entry: yauzl.Entry) => {
    try {
      const judged = judge(entry, limits);
      bytes += entry.uncompressedSize;
      if (bytes > limits.bytes) {
        throw new StagingError('too-large', `the upload unpacks to more than ${limits.bytes} bytes: leave out what the app does not need (.cfignore)`);
      }
      if (judged !== undefined) entries.push(judged);
      zip.readEntry();
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)));
    }
  });
  zip.readEntry();
  await promise;
  return entries;
}

function judge(entry: yauzl.Entry, limits: BitsLimits): Entry | undefined {
  const name = decodeName(entry);
  const unix = entry.versionMadeBy >>> 8 === 3;
  const attributes = unix ? entry.externalFileAttributes >>> 16 : 0;
  const format = attributes & S_IFMT;
  const isDirectory = name.endsWith('/') || format === 0o040000;
  // The entry of the root itself, which some archivers write.
  if (isDirectory && /^(\.?\/?)*$/.test(name) && !name.startsWith('/')) return undefined;
  const path = sourcePath(name);
  if (format !== 0 && format !== 0o100000 && format !== 0o040000 && format !== 0o120000) {
    throw refuse(name, 'is a device, a socket or a pipe: only files, directories and links can be pushed');
  }
  if (entry.isEncrypted()) throw refuse(name, 'is encrypted: push it without a password');
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== DEFLATE) {
    throw refuse(name, `is packed by method ${entry.compressionMethod}: use deflate, or none`);
  }
  if (entry.uncompressedSize > limits.fileBytes) throw refuse(name, `unpacks to ${entry.uncompressedSize} bytes, more than ${limits.fileBytes}`);
  const type = isDirectory ? 'directory' : format === 0o120000 ? 'link' : 'file';
  if (type === 'link' && entry.uncompressedSize > limits.nameBytes) throw refuse(name, 'is a link without a usable target');
  const permissions = attributes & 0o777;
  // The build user must be able to read what was pushed; setuid and the like have no meaning in an app.
  const mode = type === 'directory' ? 0o755 : permissions === 0 ? 0o644 : permissions | 0o600;
  return { path, type, mode, entry };
}

function decodeName(entry: yauzl.Entry): string {
  const bytes = entry.fileName as unknown as Buffer;
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return text;
  throw refuse(bytes.toString('latin1'), 'has a name that is not UTF-8: rename it');
}

function zipFile(file: FileHandle, zip: yauzl.ZipFile, { path, type, mode, entry }: Entry): ZipFile {
  const sizeBytes = type === 'directory' ? 0 : entry.uncompressedSize;
  return { path, type, mode, sizeBytes, read: () => read(file, zip, entry, path) };
}

async function* read(file: FileHandle, zip: yauzl.ZipFile, entry: yauzl.Entry, path: string): AsyncGenerator<Buffer> {
  const start = await dataStart(zip, entry, path);
  const stored = entry.compressionMethod === 0;
  if (stored && entry.compressedSize !== entry.uncompressedSize) throw refuse(path, 'is damaged: its sizes contradict each other');
  let crc = 0;
  let length = 0;
  for await (const chunk of unpacked(file, entry, start, stored, path)) {
    length += chunk.length;
    if (length > entry.uncompressedSize) throw refuse(path, `unpacks to more than the ${entry.uncompressedSize} bytes that it declares`);
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (length !== entry.uncompressedSize || crc !== entry.crc32) throw refuse(path, 'is damaged: its checksum does not match');
}

async function* unpacked(
  file: FileHandle,
  entry: yauzl.Entry,
  start: number,
  stored: boolean,
  path: string,
): AsyncGenerator<Buffer> {
  if (entry.compressedSize <= SMALL && entry.uncompressedSize <= SMALL) {
    const packed = Buffer.alloc(entry.compressedSize);
    const { bytesRead } = await file.read(packed, 0, packed.length, start);
    if (bytesRead !== packed.length) throw refuse(path, 'is damaged: the archive ends too early');
    if (stored) yield packed;
    else {
      try {
        yield inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.uncompressedSize) });
      } catch (error) {
        throw bomb(error) ? refuse(path, `unpacks to more than the ${entry.uncompressedSize} bytes that it declares`) : refuse(path, 'is damaged: it cannot be unpacked');
      }
    }
    return;
  }
  const packed = Readable.from(pieces(file, start, entry.compressedSize), { objectMode: false });
  if (stored) {
    yield* packed as AsyncIterable<Buffer>;
    return;
  }
  const inflate = createInflateRaw();
  packed.on('error', (error) => inflate.destroy(error));
  try {
    yield* packed.pipe(inflate) as AsyncIterable<Buffer>;
  } catch (error) {
    throw error instanceof StagingError ? error : refuse(path, 'is damaged: it cannot be unpacked');
  }
}

async function* pieces(file: FileHandle, start: number, length: number): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < length; ) {
    const piece = Buffer.allocUnsafe(Math.min(256 * 1024, length - offset));
    const { bytesRead } = await file.read(piece, 0, piece.length, start + offset);
    if (bytesRead === 0) throw new StagingError('invalid-bits', 'the upload is no valid zip file: it ends too early');
    offset += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

async function dataStart(zip: yauzl.ZipFile, entry: yauzl.Entry, path: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  zip.readLocalFileHeader(entry, { minimal: true }, (error, header) => {
    if (error || header === undefined) reject(refuse(path, `is damaged: ${messageOf(error)}`));
    else resolve(header.fileDataStart);
  });
  return await promise;
}

export async function contentOf(file: ZipFile): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of file.read()) chunks.push(chunk);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

function bomb(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
