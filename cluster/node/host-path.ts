/** hostPath: what the pod says is there must be there, or is made (Kubernetes "Volumes", hostPath volume types). */
import { mkdir, open, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { HostPathVolumeSource } from '../kinds/types/core.ts';
import { AgentError, hasErrorCode } from './errors.ts';

const CHECKS: Readonly<Record<string, { holds: (found: Stats) => boolean; what: string }>> = {
  Directory: { holds: (found) => found.isDirectory(), what: 'a directory' },
  File: { holds: (found) => found.isFile(), what: 'a file' },
  Socket: { holds: (found) => found.isSocket(), what: 'a socket file' },
  CharDevice: { holds: (found) => found.isCharacterDevice(), what: 'a character device' },
  BlockDevice: { holds: (found) => found.isBlockDevice(), what: 'a block device' },
};

/** Rejects with `FailedMount`. */
export async function prepareHostPath({ path, type = '' }: HostPathVolumeSource): Promise<string> {
  let found = await look(path);
  if (found === undefined && (type === '' || type === 'DirectoryOrCreate')) await mkdir(path, { recursive: true });
  if (found === undefined && type === 'FileOrCreate') await (await open(path, 'a', 0o644)).close();
  found ??= await look(path);
  const check = CHECKS[type.replace('OrCreate', '')];
  if (check !== undefined && (found === undefined || !check.holds(found)))
    throw new AgentError('FailedMount', `hostPath type check failed: ${path} is not ${check.what}`);
  return path;
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
