import { randomBytes } from 'node:crypto';
import { createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { SnapshotPage } from '#cluster/store/store.ts';
import { ASIDE_PREFIX, syncDirectory } from '#lib/atomic-file.ts';
import { Progress } from '#lib/progress.ts';
import { type Backup, writeArchive } from '../backup/archive.ts';
import { finishRestore } from '../backup/finish.ts';
import { filesToKeep } from '../backup/staging.ts';
import { HostError } from '../host-error.ts';
import { type InstanceFlags, requireInstance } from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { requireRoot } from '../preflight.ts';
import { instanceSnapshot } from '../store/open.ts';
import { sqlitePath } from '../store/settings.ts';
import { version } from '../version.ts';

/** Saves the instance into a file of mode 0600, which appears when it is whole, or to standard output. */
export async function backup(flags: InstanceFlags, file: string): Promise<void> {
  requireRoot('A backup');
  if (file === '-' && process.stdout.isTTY)
    throw new HostError(
      'invalid-flag',
      'A backup is no text for a terminal.',
      'Name a file, or send it on: sampan backup - | …',
    );
  const path = resolve(file);
  if (file !== '-' && existsSync(path))
    throw new HostError('conflict', `The file ${path} is there already.`, 'Remove it, or choose another name.');
  const progress = new Progress();
  const taken = await progress.step('looking at the state', () => pin(flags));
  await progress.step(`saving revision ${taken.manifest.revision} of the state`, async () => {
    if (file === '-') await pipeline(writeArchive(taken), process.stdout);
    else await writeFileWhole(path, taken);
  });
}

/**
 * The state as it is now, and the keys that it needs. Keys do not change while the instance is locked, and of those that the state was written
 * with then, none is gone.
 */
async function pin(flags: InstanceFlags): Promise<Backup> {
  const release = await lockInstance(flags);
  try {
    finishRestore(requireInstance(flags).dataDirectory);
    const instance = requireInstance(flags);
    if (instance.store === undefined && !existsSync(sqlitePath(instance.dataDirectory)))
      throw new HostError(
        'no-instance',
        `The instance ${instance.name} has no state yet: no cluster of it has run.`,
        'Start it with `sampan up` first.',
      );
    const files = filesToKeep(instance.dataDirectory);
    const pages = instanceSnapshot(instance);
    const first = await pages.next();
    const { revision } = first.value as SnapshotPage;
    return {
      manifest: { version, instance: instance.name, createdAt: new Date().toISOString(), revision },
      files,
      pages: withFirst(first.value as SnapshotPage, pages),
    };
  } finally {
    release();
  }
}

async function* withFirst(first: SnapshotPage, rest: AsyncGenerator<SnapshotPage>): AsyncGenerator<SnapshotPage> {
  yield first;
  yield* rest;
}

async function writeFileWhole(path: string, taken: Backup): Promise<void> {
  const aside = join(dirname(path), `${ASIDE_PREFIX}${randomBytes(6).toString('hex')}-${basename(path).slice(0, 100)}`);
  try {
    await pipeline(writeArchive(taken), createWriteStream(aside, { flags: 'wx', mode: 0o600, flush: true }));
    renameSync(aside, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    rmSync(aside, { force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC')
      throw new HostError('disk-full', `There is no room for ${path}.`, 'Free some space, or name a file elsewhere.', {
        cause: error,
      });
    if (code === 'ENOENT' || code === 'EACCES' || code === 'EROFS')
      throw new HostError('io', `Cannot write ${path}: ${message}.`, 'Name a file in a directory that is there.', {
        cause: error,
      });
    throw error;
  }
}
