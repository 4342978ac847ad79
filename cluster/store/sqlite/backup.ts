import { constants } from 'node:fs';
import { access, rename, rm, stat } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { StoreError } from '../store.ts';
import { toStoreError } from './errors.ts';

/** The file appears under its name when it is whole; one that is there already is refused. */
export async function backupDatabase(from: string, to: string): Promise<{ revision: number; bytes: number }> {
  const action = `backup to ${to}`;
  if (
    await access(to, constants.F_OK).then(
      () => true,
      () => false,
    )
  ) {
    throw new StoreError('unavailable', `${action}: the file exists: remove it or choose another name`);
  }
  const partial = `${to}.partial`;
  await rm(partial, { force: true });
  try {
    await new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL('./backup-thread.ts', import.meta.url), {
        workerData: { from, to: partial },
        name: 'store-backup',
      });
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
    const copy = new DatabaseSync(partial, { readOnly: true });
    const row = copy
      .prepare('SELECT max(revision, (SELECT coalesce(max(revision), 0) FROM history)) AS revision FROM state')
      .get();
    copy.close();
    const { size } = await stat(partial);
    await rename(partial, to);
    return { revision: Number(row?.revision), bytes: size };
  } catch (error) {
    await rm(partial, { force: true });
    throw toStoreError(error, action);
  }
}
