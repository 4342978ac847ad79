/**
 * Gives a volume to a group (Kubernetes "Configure volume permission and ownership change policy for Pods").
 *
 * Another pod may write to the tree meanwhile, and what it puts in the place of a directory must lead nobody out of the volume:
 * every step goes from the descriptor of a directory to one name in it, and through no link.
 */
import { type Dirent, constants } from 'node:fs';
import { type FileHandle, lchown, lstat, open, readdir, stat } from 'node:fs/promises';
import { AgentError, hasErrorCode } from './errors.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const FILE_BITS = 0o660;
const DIRECTORY_BITS = 0o2770;
/** Each level holds a descriptor. */
const DEEPEST = 500;

/** The root comes last: where it is right, all below it was. @param rootOnly  nothing is done where the root is right */
export async function giveToGroup(root: string, group: number, rootOnly: boolean): Promise<void> {
  const { gid, mode } = await stat(root);
  if (rootOnly && gid === group && (mode & DIRECTORY_BITS) === DIRECTORY_BITS) return;
  await giveDirectory(root, group, 0);
}

async function giveDirectory(path: string, group: number, depth: number): Promise<void> {
  if (depth > DEEPEST)
    throw new AgentError('FailedMount', `fsGroup: the volume's directories are more than ${DEEPEST} deep`);
  const directory = await openPresent(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (directory === undefined) return;
  try {
    const here = `/proc/self/fd/${directory.fd}`;
    for (const entry of await readdir(here, { withFileTypes: true })) await giveEntry(here, entry, group, depth);
    await give(directory, group, DIRECTORY_BITS);
  } finally {
    await directory.close();
  }
}

async function giveEntry(here: string, entry: Dirent, group: number, depth: number): Promise<void> {
  const path = `${here}/${entry.name}`;
  if (entry.isDirectory()) return await giveDirectory(path, group, depth + 1);
  if (entry.isFile()) {
    // Nonblocking, as it may be a pipe by now.
    const file = await openPresent(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (file === undefined) return;
    try {
      await give(file, group, FILE_BITS);
    } finally {
      await file.close();
    }
    return;
  }
  try {
    await lchown(path, (await lstat(path)).uid, group);
  } catch (error) {
    if (!hasErrorCode(error, 'ENOENT')) throw error;
  }
}

async function give(file: FileHandle, group: number, bits: number): Promise<void> {
  const { uid, gid, mode } = await file.stat();
  if (gid !== group) await file.chown(uid, group);
  if ((mode & bits) !== bits || gid !== group) await file.chmod((mode & 0o7777) | bits);
}

/** Undefined where something else is there by now. */
async function openPresent(path: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(path, flags);
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO')) return undefined;
    throw error;
  }
}
