/**
 * Reads the zip of an upload (APPNOTE.TXT by PKWARE). The central directory decides; every entry is judged by `refuse.ts`
 * before a byte of it is unpacked, and unpacked never beyond what it declares, so a bomb is known by its size.
 */
import { readSync } from 'node:fs';
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
  /** The whole content at once, where it is small: ten times faster, which counts with 100,000 files. */
  readSmall?: () => Buffer;
}

interface Entry {
  path: string;
  type: ZipFile['type'];
  mode: number;
  entry: yauzl.Entry;
}

const DEFLATE = 8;
/** Up to so many bytes a file is unpacked at once. */
const SMALL = 512 * 1024;
/** An archive up to this size is read at once. */
const WHOLE = 32 * 1024 * 1024;
const S_IFMT = 0o170000;

/** Directories and files in no particular order. `use` must be done with the entries before the file is closed. */
export async function withZip<Result>(
  path: string,
  limits: BitsLimits,
  use: (files: ZipFile[]) => Promise<Result>,
): Promise<Result> {
  const file = await open(path, 'r');
  try {
    const archive = new Archive(file, (await file.stat()).size);
    const zip = await openZip(archive);
    const entries = await readDirectory(zip, limits);
    const files = entries.map((entry) => zipFile(archive, entry));
    for (const each of files) {
      if (each.type !== 'link') continue;
      checkLink(each.path, (await contentOf(each)).toString('utf8'));
    }
    return await use(files);
  } finally {
    await file.close();
  }
}

async function openZip(archive: Archive): Promise<yauzl.ZipFile> {
  const fromReader = promisify<yauzl.RandomAccessReader, number, yauzl.Options, yauzl.ZipFile>(
    yauzl.fromRandomAccessReader,
  );
  try {
    return await fromReader(archive, archive.length, {
      lazyEntries: true,
      autoClose: false,
      decodeStrings: false,
      // Checked here, with the entry's name.
      validateEntrySizes: false,
    });
  } catch (error) {
    throw new StagingError('invalid-bits', `the upload is no zip file: ${messageOf(error)}`, { cause: error });
  }
}

async function readDirectory(zip: yauzl.ZipFile, limits: BitsLimits): Promise<Entry[]> {
  if (zip.entryCount > limits.files) {
    throw new StagingError(
      'too-large',
      `the upload has ${zip.entryCount} entries, more than ${limits.files}: leave out what the app does not need (.cfignore)`,
    );
  }
  const entries: Entry[] = [];
  let bytes = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  zip.on('error', (error: Error) =>
    reject(new StagingError('invalid-bits', `the upload is no valid zip file: ${error.message}`, { cause: error })),
  );
  zip.on('end', resolve);
  zip.on('entry', (entry: yauzl.Entry) => {
    try {
      const judged = judge(entry, limits);
      bytes += entry.uncompressedSize;
      if (bytes > limits.bytes) {
        throw new StagingError(
          'too-large',
          `the upload unpacks to more than ${limits.bytes} bytes: leave out what the app does not need (.cfignore)`,
        );
      }
      if (judged !== undefined) entries.push(judged);
      // The reader answers at once: without a turn of the queue 100,000 entries would be as many nested calls.
      queueMicrotask(() => zip.readEntry());
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
  if (entry.uncompressedSize > limits.fileBytes)
    throw refuse(name, `unpacks to ${entry.uncompressedSize} bytes, more than ${limits.fileBytes}`);
  const type = isDirectory ? 'directory' : format === 0o120000 ? 'link' : 'file';
  if (entry.compressionMethod === 0 && entry.compressedSize !== entry.uncompressedSize) throw damaged(name);
  if (type === 'link' && entry.uncompressedSize > limits.nameBytes)
    throw refuse(name, 'is a link without a usable target');
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

function zipFile(archive: Archive, { path, type, mode, entry }: Entry): ZipFile {
  if (type === 'directory') return { path, type, mode, sizeBytes: 0, read: async function* () {} };
  const common = { path, type, mode, sizeBytes: entry.uncompressedSize };
  if (entry.compressedSize > SMALL || entry.uncompressedSize > SMALL) {
    return { ...common, read: () => readStream(archive, entry, path) };
  }
  const readSmall = () => readAtOnce(archive, entry, path);
  return {
    ...common,
    readSmall,
    async *read() {
      yield readSmall();
    },
  };
}

function readAtOnce(archive: Archive, entry: yauzl.Entry, path: string): Buffer {
  const packed = archive.bytes(dataStart(archive, entry, path), entry.compressedSize, path);
  // A copy: what is stored would change with the window.
  let content = entry.compressionMethod === DEFLATE ? packed : Buffer.from(packed);
  if (entry.compressionMethod === DEFLATE) {
    try {
      content = inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.uncompressedSize) });
    } catch (error) {
      throw bomb(error) ? tooLong(path, entry) : refuse(path, 'is damaged: it cannot be unpacked');
    }
  }
  if (content.length !== entry.uncompressedSize || crc32(content) !== entry.crc32) throw damaged(path);
  return content;
}

async function* readStream(archive: Archive, entry: yauzl.Entry, path: string): AsyncGenerator<Buffer> {
  const start = dataStart(archive, entry, path);
  let crc = 0;
  let length = 0;
  for await (const chunk of unpacked(archive.file, entry, start, path)) {
    length += chunk.length;
    if (length > entry.uncompressedSize) throw tooLong(path, entry);
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (length !== entry.uncompressedSize || crc !== entry.crc32) throw damaged(path);
}

async function* unpacked(file: FileHandle, entry: yauzl.Entry, start: number, path: string): AsyncGenerator<Buffer> {
  const packed = Readable.from(pieces(file, start, entry.compressedSize), { objectMode: false });
  if (entry.compressionMethod !== DEFLATE) {
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

/** Behind the entry's local header, whose name and extra field may differ in length from those of the directory. */
function dataStart(archive: Archive, entry: yauzl.Entry, path: string): number {
  const at = entry.relativeOffsetOfLocalHeader;
  const header = archive.bytes(at, 30, path);
  if (header.readUInt32LE(0) !== 0x04034b50) throw damaged(path);
  return at + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

/**
 * Reads the whole archive into memory, or through a window where it is large. Synchronous: the file was written a moment
 * ago and lies in the page cache, and a trip through the thread pool for each of 100,000 small files would take longer
 * than all the rest.
 */
class Archive extends yauzl.RandomAccessReader {
  readonly file: FileHandle;
  readonly length: number;
  #window = Buffer.alloc(0);
  #start = 0;

  constructor(file: FileHandle, length: number) {
    super();
    this.file = file;
    this.length = length;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null) => void,
  ): void {
    try {
      this.bytes(position, length, 'directory').copy(buffer, offset);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    done(null);
  }

  /** Valid until the next call. */
  bytes(start: number, length: number, path: string): Buffer {
    const inside = start >= this.#start && start + length <= this.#start + this.#window.length;
    if (!inside) {
      const whole = this.length <= WHOLE;
      const window = Buffer.allocUnsafe(whole ? this.length : Math.max(length, 64 * 1024));
      const from = whole ? 0 : start;
      this.#window = window.subarray(0, readSync(this.file.fd, window, 0, window.length, from));
      this.#start = from;
      if (start < from || start + length > from + this.#window.length) throw damaged(path);
    }
    return this.#window.subarray(start - this.#start, start - this.#start + length);
  }
}

function damaged(path: string): StagingError {
  return refuse(path, 'is damaged: its place, size or checksum does not match');
}

function tooLong(path: string, entry: yauzl.Entry): StagingError {
  return refuse(path, `unpacks to more than the ${entry.uncompressedSize} bytes that it declares`);
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
