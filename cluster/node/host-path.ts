/** hostPath: what the pod says is there must be there, or is made (Kubernetes "Volumes", hostPath volume types). */
import type { Stats } from 'node:fs';
import { mkdir, open, realpath, stat } from 'node:fs/promises';
import { dirname, normalize } from 'node:path';
import type { HostPathVolumeSource } from '../kinds/types/core.ts';
import { AgentError, hasErrorCode } from './errors.ts';

const CHECKS: Readonly<Record<string, { holds: (found: Stats) => boolean; what: string }>> = {
  Directory: { holds: (found) => found.isDirectory(), what: 'a directory' },
  File: { holds: (found) => found.isFile(), what: 'a file' },
  Socket: { holds: (found) => found.isSocket(), what: 'a socket file' },
  CharDevice: { holds: (found) => found.isCharacterDevice(), what: 'a character device' },
  /** Of no hostPath volume, but of `local` ones. */
  DirectoryOrBlockDevice: {
    holds: (found) => found.isDirectory() || found.isBlockDevice(),
    what: 'a directory or a block device',
  },
  BlockDevice: { holds: (found) => found.isBlockDevice(), what: 'a block device' },
};

/** By their names alone. */
export function isBelow(path: string, directories: readonly string[]): boolean {
  const wanted = normalize(`${path}/`);
  return directories.some((directory) => wanted.startsWith(normalize(`${directory}/`)));
}

/**
 * Rejects with `FailedMount`.
 * @param allowed  links lead nowhere else
 * @returns the path without links
 */
export async function prepareHostPath(source: HostPathVolumeSource, allowed: readonly string[]): Promise<string> {
  const { path } = source;
  const roots = await Promise.all(allowed.map((directory) => realpath(directory).catch(() => directory)));
  const check = async (there: string): Promise<string> => {
    const real = await realpath(there);
    if (isBelow(path, allowed) && isBelow(real, roots)) return real;
    throw new AgentError(
      'FailedMount',
      `hostPath "${path}" is not allowed on this node${real === there ? '' : `: it leads to "${real}"`}; start the node with --allow-host-path`,
    );
  };
  // Before anything is made there, and after: somebody may have put a link into the way.
  await check(await nearest(path));
  await makePath(source);
  return await check(path);
}

async function nearest(path: string): Promise<string> {
  return (await look(path)) === undefined && path !== '/' ? await nearest(dirname(path)) : path;
}

async function makePath({ path, type = '' }: HostPathVolumeSource): Promise<void> {
  let found = await look(path);
  if (found === undefined && (type === '' || type === 'DirectoryOrCreate')) await mkdir(path, { recursive: true });
  if (found === undefined && type === 'FileOrCreate') await (await open(path, 'a', 0o644)).close();
  found ??= await look(path);
  const check = CHECKS[type.replace('OrCreate', '')];
  if (check !== undefined && (found === undefined || !check.holds(found)))
    throw new AgentError('FailedMount', `hostPath type check failed: ${path} is not ${check.what}`);
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
