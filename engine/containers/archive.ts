/** Files of a container by path: what is there, out as an archive, in from an archive. */
import { closeSync, constants, lstatSync, openSync, readlinkSync, statSync, type Stats } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { TarError } from '#lib/tar/tar.ts';
import { EngineError } from '../engine.ts';
import { OpenFlag, openInRoot } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import type { PathStat, WriteArchiveOptions } from '../verbs.ts';
import { containerPaths } from './layout.ts';
import type { OciConfig } from './oci.ts';
import { type ViewRequest, openRootView } from './root-view.ts';
import { isKernelFile, pathBelow, readTree } from './tree-read.ts';
import { isDirectory, writeTree } from './tree-write.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
/** As the kernel counts them on one path. */
const mostLinks = 40;

/** As bytes, without `.` and `..`, which Docker takes away before it looks. */
interface Wanted {
  path: string;
  directory: string;
  base: string;
  /** The path ends with `/` or `/.`: it means a directory, behind a link too. */
  follow: boolean;
}

function parsePath(text: string): Wanted {
  if (text.includes('\0') || text.length > 4096)
    throw new EngineError('invalid', `path: ${JSON.stringify(text.slice(0, 100))} is no path`);
  const path = posix.normalize(`/${Buffer.from(text).toString('latin1')}`).replace(/(?<=.)\/$/, '');
  return { path, directory: posix.dirname(path), base: posix.basename(path), follow: /(^|\/)\.?$/.test(text) };
}

export async function statPath(request: ViewRequest, text: string): Promise<PathStat> {
  const wanted = parsePath(text);
  const root = openRootView(request);
  try {
    const found = await openWanted(root, wanted, request, text);
    try {
      return pathStat(root, wanted, statSync(`/proc/self/fd/${found}`));
    } finally {
      closeSync(found);
    }
  } finally {
    closeSync(root);
  }
}

export async function readArchive(request: ViewRequest, text: string): Promise<{ stat: PathStat; archive: Readable }> {
  const wanted = parsePath(text);
  const root = openRootView(request);
  const descriptors = [root];
  try {
    const found = await openWanted(root, wanted, request, text);
    descriptors.push(found);
    const stat = pathStat(root, wanted, statSync(`/proc/self/fd/${found}`));
    const { idRange } = request.sandbox;
    let from = { parent: found, entry: '.' };
    if (stat.type === 'directory') {
      descriptors.push(openSync(`/proc/self/fd/${found}`, O_RDONLY | O_DIRECTORY));
    } else {
      from = { parent: openInRoot(root, wanted.directory, OpenFlag.path | O_DIRECTORY), entry: wanted.base };
      descriptors.push(from.parent);
    }
    const name = wanted.base === '' ? '/' : text.endsWith('/.') ? '.' : wanted.base;
    const archive = Readable.from(readTree({ ...from, name, idRange }), { objectMode: false });
    archive.once('close', () => closeAll(descriptors));
    return { stat, archive };
  } catch (error) {
    closeAll(descriptors);
    throw error;
  }
}

export async function writeArchive(
  request: ViewRequest,
  text: string,
  archive: AsyncIterable<Uint8Array>,
  options: WriteArchiveOptions = {},
): Promise<void> {
  const wanted = { ...parsePath(text), follow: true };
  const root = openRootView(request);
  try {
    const found = await openWanted(root, wanted, request, text);
    try {
      if (!isDirectory(found)) throw new EngineError('invalid', 'extraction point is not a directory');
    } finally {
      closeSync(found);
    }
    refuseReadOnly(request, resolveLinks(root, wanted.path));
    const owner = options.ownedByUser === true ? await ownerOf(request) : undefined;
    await writeTree(
      {
        root,
        path: wanted.path,
        idRange: request.sandbox.idRange,
        keepKinds: options.keepKinds === true,
        ...(owner === undefined ? {} : { owner }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      archive,
    );
  } catch (error) {
    throw explain(error);
  } finally {
    closeSync(root);
  }
}

function explain(error: unknown): unknown {
  if (error instanceof TarError) return new EngineError('invalid', error.message, { cause: error });
  if (hasCode(error, 'EROFS'))
    return new EngineError('invalid', 'container rootfs is marked read-only, or a volume of it is', { cause: error });
  if (hasCode(error, 'ENOSPC', 'EDQUOT'))
    return new EngineError('exhausted', 'no space left on the file system of the container', { cause: error });
  if (hasCode(error, 'ENOTDIR', 'ELOOP', 'ENOENT', 'EEXIST', 'ENOTEMPTY', 'ENAMETOOLONG', 'EBUSY', 'EPERM', 'EXDEV'))
    return new EngineError('invalid', `the archive cannot be unpacked there: ${(error as Error).message}`, {
      cause: error,
    });
  return error;
}

/** @returns a descriptor (O_PATH) */
async function openWanted(root: number, wanted: Wanted, { record }: ViewRequest, text: string): Promise<number> {
  const missing = (cause?: unknown): EngineError =>
    new EngineError('not-found', `Could not find the file ${text} in container ${record.id}`, { cause });
  let found: number;
  try {
    found = openInRoot(root, wanted.path, OpenFlag.path | (wanted.follow ? 0 : O_NOFOLLOW));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ENAMETOOLONG')) throw missing(error);
    throw error;
  }
  try {
    // Its own root directories (/proc, /sys) are there, and empty as in the image; nothing that is in them.
    const isTop = wanted.directory === '/';
    if (!isTop && (await isKernelFile(found))) throw missing();
    if (wanted.follow && /\/\.?$/.test(text) && !isDirectory(found))
      throw new EngineError('invalid', `${text} is not a directory`);
    return found;
  } catch (error) {
    closeSync(found);
    throw error;
  }
}

function pathStat(root: number, { base, path }: Wanted, info: Stats): PathStat {
  const type = typeOf(info);
  return {
    name: base === '' ? '/' : Buffer.from(base, 'latin1').toString(),
    type,
    sizeBytes: info.size,
    mode: info.mode & 0o7777,
    modifiedAt: info.mtimeMs,
    ...(type === 'symlink' ? { linkTarget: Buffer.from(resolveLinks(root, path), 'latin1').toString() } : {}),
  };
}

function typeOf(info: Stats): PathStat['type'] {
  if (info.isDirectory()) return 'directory';
  if (info.isSymbolicLink()) return 'symlink';
  if (info.isCharacterDevice()) return 'character-device';
  if (info.isBlockDevice()) return 'block-device';
  if (info.isFIFO()) return 'fifo';
  return info.isSocket() ? 'socket' : 'file';
}

/**
 * Where a path leads, every link in it followed; what is not there is taken as it is written. This tells a name and decides
 * nothing: whoever uses the name has it resolved by the kernel again.
 */
function resolveLinks(root: number, path: string): string {
  const pending = path.split('/');
  let at = '/';
  let links = 0;
  for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at = posix.dirname(at);
      continue;
    }
    const target = linkAt(root, at, part);
    if (target === undefined) {
      at = posix.join(at, part);
      continue;
    }
    links += 1;
    if (links > mostLinks || pending.length > 4096)
      throw new EngineError('invalid', `path: it goes through more than ${mostLinks} symbolic links`);
    if (target.startsWith('/')) at = '/';
    pending.unshift(...target.split('/'));
  }
  return at;
}

function linkAt(root: number, directory: string, name: string): string | undefined {
  try {
    const parent = openInRoot(root, directory, OpenFlag.path | O_DIRECTORY);
    try {
      const path = pathBelow(parent, name);
      if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return undefined;
      return readlinkSync(path, 'buffer').toString('latin1');
    } finally {
      closeSync(parent);
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL')) return undefined;
    throw error;
  }
}

/** The kernel refuses it too where the container runs; this says it in Docker's words, and for those that do not. */
function refuseReadOnly({ record }: ViewRequest, path: string): void {
  const inside = (record.spec.mounts ?? [])
    .filter(({ target }) => path === target || path.startsWith(`${target.replace(/\/$/, '')}/`))
    .sort((left, right) => right.target.length - left.target.length)[0];
  if (inside === undefined) {
    if (record.spec.readOnlyRoot === true) throw new EngineError('invalid', 'container rootfs is marked read-only');
    return;
  }
  const readOnly = inside.kind === 'files' ? inside.readOnly !== false : inside.readOnly === true;
  if (readOnly) throw new EngineError('invalid', 'mounted volume is marked read-only');
}

/** Whom its first process is. */
async function ownerOf({ layout, record }: ViewRequest): Promise<{ uid: number; gid: number }> {
  const file = join(containerPaths(layout, record.id).bundle, 'config.json');
  const { user } = (JSON.parse(await readFile(file, 'utf8')) as OciConfig).process;
  return { uid: user.uid, gid: user.gid };
}

function closeAll(descriptors: number[]): void {
  for (const descriptor of descriptors.splice(0)) closeSync(descriptor);
}
