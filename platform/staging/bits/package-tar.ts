/**
 * The tar of a package: sorted, so that the same source makes the same layer, and with an index of where each file lies.
 * Headers and small files are put together in blocks before they go on.
 */
import { createHash } from 'node:crypto';
import { paddingAfter, type TarHeader } from '#lib/tar/tar.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { fileTime, TIMED_PREFIX } from '../images/file-time.ts';
import { CREATED_SECONDS } from '../images/oci.ts';
import { type IndexEntry, WORKSPACE } from './package-image.ts';
import { refuse } from './refuse.ts';

/** A file of the package to be, from the zip or from an earlier package. */
export interface Source {
  path: string;
  type: 'file' | 'link';
  mode: number;
  sizeBytes: number;
  /** What the content must be, where it is known. */
  sha1?: string;
  read(): AsyncIterable<Uint8Array>;
  readSmall?: () => Uint8Array;
}

const BLOCK_BYTES = 256 * 1024;
export interface PackageContent {
  directories: readonly string[];
  files: readonly Source[];
  /** Where all of it lies; default the workspace of a build, whose user owns it. */
  root?: string;
  owner?: number;
}

/** Filled while the tar is made. */
export class PackageNote {
  readonly index: IndexEntry[] = [];
  readonly #shape = createHash('sha256');

  /** A digest of everything but what files contain: names, kinds, rights and links. */
  get shape(): string {
    return this.#shape.copy().digest('hex');
  }

  add(header: TarHeader): void {
    const { name, type, mode, linkName = '' } = header;
    this.#shape.update(JSON.stringify([name, type, mode, linkName]));
  }
}

export async function* packageTar(content: PackageContent, note: PackageNote): AsyncGenerator<Uint8Array> {
  const { directories, files, root = WORKSPACE, owner: id = 1000 } = content;
  const owner = { uid: id, gid: id, mtimeSeconds: CREATED_SECONDS };
  const names: { name: string; source?: Source }[] = [
    ...directories.map((name) => ({ name })),
    ...files.map((source) => ({ name: source.path, source })),
  ];
  names.sort((left, right) => comparePaths(left.name, right.name));
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let offset = 0;
  const add = (bytes: Uint8Array) => {
    pending.push(bytes);
    pendingBytes += bytes.byteLength;
    offset += bytes.byteLength;
  };
  const take = () => {
    const block = Buffer.concat(pending);
    pending = [];
    pendingBytes = 0;
    return block;
  };

  const parts = root.split('/');
  for (const depth of parts.keys()) {
    const name = parts.slice(0, depth + 1).join('/');
    add(encodeHeader({ ...owner, name, type: 'directory', mode: 0o755, sizeBytes: 0 }));
  }
  for (const { name, source } of names) {
    const header: TarHeader = { ...owner, name: `${root}/${name}`, type: 'directory', mode: 0o755, sizeBytes: 0 };
    if (source === undefined) {
      note.add(header);
      add(encodeHeader(header));
    } else if (source.type === 'link') {
      const target = Buffer.concat(await Array.fromAsync(source.read())).toString('utf8');
      const link: TarHeader = { ...header, type: 'symlink', mode: 0o777, linkName: target };
      note.add(link);
      add(encodeHeader(link));
    } else {
      const { mode, sizeBytes } = source;
      note.add({ ...header, type: 'file', mode });
      const sha1 = createHash('sha1');
      const iterator = source.readSmall === undefined ? source.read()[Symbol.asyncIterator]() : undefined;
      const first = iterator === undefined ? (source.readSmall?.() ?? TAR_END) : await prefixOf(iterator);
      add(encodeHeader({ ...header, type: 'file', mode, sizeBytes, mtimeSeconds: fileTime(first, sizeBytes) }));
      const start = offset;
      sha1.update(first);
      add(first);
      if (iterator !== undefined && first.byteLength >= TIMED_PREFIX) {
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
          sha1.update(next.value);
          add(next.value);
          if (pendingBytes >= BLOCK_BYTES) yield take();
        }
      }
      if (offset - start !== sizeBytes) throw refuse(source.path, `has other bytes than its ${sizeBytes}`);
      const digest = sha1.digest('hex');
      if (source.sha1 !== undefined && source.sha1 !== digest)
        throw refuse(source.path, 'has another content than its sha1 says');
      note.index.push({ path: name, sha1: digest, sizeBytes, mode, offset: start });
      add(TAR_END.subarray(0, paddingAfter(sizeBytes)));
    }
    if (pendingBytes >= BLOCK_BYTES) yield take();
  }
  add(TAR_END);
  yield take();
}

/** At least as much as takes part in the file's time, or all of it. */
async function prefixOf(iterator: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length < TIMED_PREFIX) {
    const next = await iterator.next();
    if (next.done === true) break;
    chunks.push(next.value);
    length += next.value.byteLength;
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** Bytewise by component, as GNU tar's --sort=name walks a tree: a directory is followed by all that is in it. */
export function comparePaths(left: string, right: string): number {
  const a = left.split('/');
  const b = right.split('/');
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const order = Buffer.compare(Buffer.from(a[index] ?? ''), Buffer.from(b[index] ?? ''));
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
