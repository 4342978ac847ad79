/**
 * A directory of files that are replaced all at once, in the kubelet's layout: `..data` is a link to a directory with a time in its
 * name, which is written before the link leads there and never changed after; each first name is a link into `..data`. Who keeps the
 * link's target open while he reads several files sees those of one moment.
 */
import {
  chmod,
  chown,
  lchown,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
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
export async function publishFiles(place: string, set: FileSet): Promise<void> {
  for (const { path } of set.files) checkPath(path);
  const owner = set.firstId;
  const group = set.firstId + (set.group ?? 0);
  await chown(place, owner, group);
  const now = await currentOf(place);
  if (now === undefined || !(await isSame(join(place, now), set))) {
    const name = `..${new Date().toISOString().slice(0, 19).replaceAll(/[-T:]/g, '_')}.${randomInt(1e9)}`;
    await writeSet(join(place, name), set);
    const link = join(place, '..data_tmp');
    await rm(link, { force: true });
    await symlink(name, link);
    await lchown(link, owner, group);
    await rename(link, join(place, DATA));
  }
  await linkNames(place, set, { owner, group });
  const kept = await currentOf(place);
  for (const name of await readdir(place))
    if (name.startsWith('..') && name !== DATA && name !== kept) await rm(join(place, name), { recursive: true });
}

async function currentOf(place: string): Promise<string | undefined> {
  try {
    return await readlink(join(place, DATA));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function isSame(directory: string, { files, firstId }: FileSet): Promise<boolean> {
  const there = await readdir(directory, { recursive: true, withFileTypes: true });
  if (there.filter((entry) => entry.isFile()).length !== new Set(files.map(({ path }) => path)).size) return false;
  for (const { path, content, mode = 0o644, uid = 0 } of files) {
    const at = join(directory, path);
    const found = there.find((entry) => entry.isFile() && join(entry.parentPath, entry.name) === at);
    if (found === undefined) return false;
    const { size, mode: nowMode, uid: nowUid } = await stat(at);
    if (size !== content.length || (nowMode & 0o777) !== (mode & 0o777) || nowUid !== firstId + uid) return false;
    if (!(await readFile(at)).equals(content)) return false;
  }
  return true;
}

async function writeSet(directory: string, { files, firstId, group = 0 }: FileSet): Promise<void> {
  const gid = firstId + group;
  const make = async (path: string): Promise<void> => {
    await mkdir(path, { recursive: true });
    await chown(path, firstId, gid);
    await chmod(path, 0o755);
  };
  await make(directory);
  for (const { path, content, mode = 0o644, uid = 0 } of files) {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) await make(join(directory, ...parts.slice(0, depth)));
    const target = join(directory, path);
    await writeFile(target, content, { mode: 0o600 });
    await chown(target, firstId + uid, gid);
    await chmod(target, mode & 0o777);
  }
}

async function linkNames(place: string, { files }: FileSet, ids: { owner: number; group: number }): Promise<void> {
  const wanted = new Set(files.map(({ path }) => path.split('/')[0] ?? ''));
  const there = (await readdir(place)).filter((name) => !name.startsWith('..'));
  for (const name of wanted) {
    if (there.includes(name)) continue;
    await symlink(join(DATA, name), join(place, name));
    await lchown(join(place, name), ids.owner, ids.group);
  }
  for (const name of there) if (!wanted.has(name)) await rm(join(place, name), { recursive: true, force: true });
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
