/** A small file system of a test's own, to be filled: a sparse image, mounted. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly path: string;
  /** Of it, in bytes. */
  free(): number;
  /** Until so many bytes are left; nothing where they are less than a few MiB. */
  fill(leaveBytes: number): void;
  /** Takes away what `fill` put there. */
  drain(): void;
  /** Nobody may use it any more. */
  close(): void;
}

const MARGIN = 4 * 1024 * 1024;

export function openSmallDisk(mebibytes: number): SmallDisk {
  const path = mkdtempSync(join(tmpdir(), 'sampan-small-disk-'));
  const image = `${path}.img`;
  const ballast = join(path, 'ballast');
  writeFileSync(image, '');
  truncateSync(image, mebibytes * 1024 * 1024);
  const env = { ...process.env, PATH: `${process.env['PATH']}:/sbin:/usr/sbin` };
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image], { env });
  execFileSync('mount', ['-o', 'loop', image, path]);
  const free = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  return {
    path,
    free,
    fill(leaveBytes) {
      // The file system needs something for itself.
      execFileSync('fallocate', ['-l', String(Math.max(4096, free() - Math.max(leaveBytes, MARGIN))), ballast]);
      if (leaveBytes < MARGIN) fillUp(join(path, 'ballast-rest'));
    },
    drain() {
      execFileSync('find', [path, '-maxdepth', '1', '-name', 'ballast*', '-delete']);
    },
    close() {
      execFileSync('umount', [path]);
      rmSync(path, { recursive: true });
      rmSync(image);
    },
  };
}

/** To the last block. */
function fillUp(file: string): void {
  const descriptor = openSync(file, 'w');
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(descriptor);
  }
}
