/** Bytes on disk below a directory, like du(1): each file once, by allocated blocks. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../sys/libc.ts';

export async function diskUse(directory: string): Promise<number> {
  const seen = new Set<number>();
  let total = 0;
  const visit = async (path: string): Promise<void> => {
    try {
      const info = await lstat(path);
      if (seen.has(info.ino)) return;
      seen.add(info.ino);
      total += info.blocks * 512;
      if (!info.isDirectory()) return;
      for (const name of await readdir(path)) await visit(join(path, name));
    } catch (error) {
      // Removed by the container while we look.
      if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error;
    }
  };
  await visit(directory);
  return total;
}
