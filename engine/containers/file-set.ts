/**
 * A directory of files that are replaced all at once, in the kubelet's layout: `..data` is a link to a directory with a time in its
 * name, which is written before the link leads there and never changed after; each first name is a link into `..data`. Who keeps the
 * link's target open while he reads several files sees those of one moment.
 *
 * Synchronous, as it is in memory: a pool of threads would cost more than the calls.
 */
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { EngineError, type WrittenFile } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';

const DATA = '..data';

export interface FileSet {
  files: readonly WrittenFile[];
  /** As the host counts. */
  firstId: number;
  group?: number | undefined;
}

/** Writes nothing where it is as wanted. What a call that was killed left is taken away by the next. */
export function publishFiles(place: string, set: FileSet): void {
  for (const { path } of set.files) checkPath(path);
  const owner = set.firstId;
  const group = set.firstId + (set.group ?? 0);
  chownSync(place, owner, group);
  const now = currentOf(place);
  if (now === undefined || !isSame(join(place, now), set)) {
    const name = `..${new Date().toISOString().slice(0, 19).replaceAll(/[-T:]/g, '_')}.${randomInt(1e9)}`;
    writeSet(join(place, name), set);
    const link = join(place, '..data_tmp');
    rmSync(link, { force: true });
    symlinkSync(name, link);
    lchownSync(link, owner, group);
    renameSync(link, join(place, DATA));
  }
  linkNames(place, set, { owner, group });
  const kept = currentOf(place);
  for (const name of readdirSync(place))
    if (name.startsWith('..') && name !== DATA && name !== kept) rmSync(join(place, name), { recursive: true });
}

function currentOf(place: string): string | undefined {
  try {
    return readlinkSync(join(place, DATA));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isSame(directory: string, { files, firstId }: FileSet): boolean {
  const there = readdirSync(directory, { recursive: true, withFileTypes: true });
  if (there.filter((entry) => entry.isFile()).length !== new Set(files.map(({ path }) => path)).size) return false;
  for (const { path, content, mode = 0o644, uid = 0 } of files) {
    const at = join(directory, path);
    const found = there.find((entry) => entry.isFile() && join(entry.parentPath, entry.name) === at);
    if (found === undefined) return false;
    const { size, mode: nowMode, uid: nowUid } = statSync(at);
    if (size !== content.length || (nowMode & 0o777) !== (mode & 0o777) || nowUid !== firstId + uid) return false;
    if (!readFileSync(at).equals(content)) return false;
  }
  return true;
}

function writeSet(directory: string, { files, firstId, group = 0 }: FileSet): void {
  const gid = firstId + group;
  const make = (path: string): void => {
    mkdirSync(path, { recursive: true });
    chownSync(path, firstId, gid);
    chmodSync(path, 0o755);
  };
  make(directory);
  for (const { path, content, mode = 0o644, uid = 0 } of files) {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) make(join(directory, ...parts.slice(0, depth)));
    const target = join(directory, path);
    writeFileSync(target, content, { mode: 0o600 });
    chownSync(target, firstId + uid, gid);
    chmodSync(target, mode & 0o777);
  }
}

function linkNames(place: string, { files }: FileSet, ids: { owner: number; group: number }): void {
  const wanted = new Set(files.map(({ path }) => path.split('/')[0] ?? ''));
  const there = readdirSync(place).filter((name) => !name.startsWith('..'));
  for (const name of wanted) {
    if (there.includes(name)) continue;
    symlinkSync(join(DATA, name), join(place, name));
    lchownSync(join(place, name), ids.owner, ids.group);
  }
  for (const name of there) if (!wanted.has(name)) rmSync(join(place, name), { recursive: true, force: true });
}

function checkPath(path: string): void {
  const parts = path.split('/');
  if (
    !parts.some((part) => part === '' || part === '.' || part === '..') &&
    !path.startsWith('..') &&
    !path.includes('\0')
  )
    return;
  throw new EngineError('invalid', `mounts.files.path: ${JSON.stringify(path)} is not a plain path below the target`);
}
