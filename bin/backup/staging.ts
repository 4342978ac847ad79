/**
 * What a restore replaces in the data directory, all at once. It is made ready in `.restore-new`; the moment that this is called `.restore`
 * the restore has happened, and whoever comes next finishes what a killed one left. Before that moment nothing has changed.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { syncDirectory } from '#lib/atomic-file.ts';
import { type BackupFile, BackupError } from './archive.ts';
import { finishRestore, PLAN_FILE, restoreDirectory, type RestorePlan } from './finish.ts';

/** Files and directories of the data directory that a backup holds; those that it does not hold are removed by a restore. */
const KEPT = [
  'instance.json',
  'secrets.json',
  'admin-password',
  'pki',
  'cluster/encryption-keys.json',
  'cluster/service-account-keys',
  'cluster/audit-policy.yaml',
  'cluster/oidc.json',
  'engine-flags.json',
  'router-flags.json',
] as const;
/** Made from a backup's keys where the state is in SQLite. */
const DATABASE = ['cluster/store.db-wal', 'cluster/store.db-shm', 'cluster/store.db'];

export function filesToKeep(dataDirectory: string): BackupFile[] {
  return KEPT.flatMap((item) => filesBelow(dataDirectory, item));
}

function filesBelow(root: string, path: string): BackupFile[] {
  const full = join(root, path);
  const info = statSync(full, { throwIfNoEntry: false });
  if (info === undefined) return [];
  if (info.isDirectory())
    return readdirSync(full)
      .sort()
      .flatMap((name) => filesBelow(root, join(path, name)));
  return [{ path, mode: info.mode & 0o777, content: readFileSync(full) }];
}

const partial = (dataDirectory: string): string => join(dataDirectory, '.restore-new');

/** An empty place for a restore, with room for a database; what an earlier one left is gone. */
export function beginStaging(dataDirectory: string): { directory: string; database: string } {
  const directory = partial(dataDirectory);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, 'cluster'), { recursive: true, mode: 0o700 });
  return { directory, database: join(directory, 'cluster', 'store.db') };
}

export function abandonStaging(dataDirectory: string): void {
  rmSync(partial(dataDirectory), { recursive: true, force: true });
}

/** @throws BackupError for a name that no backup has */
export function stageFiles(directory: string, files: readonly BackupFile[]): void {
  for (const { path, mode, content } of files) {
    const item = KEPT.find(
      (one) => path === one || (path.startsWith(`${one}/`) && !path.slice(one.length + 1).includes('/')),
    );
    if (item === undefined || path.includes('..'))
      throw new BackupError('damaged', `it holds a file ${JSON.stringify(path)}`);
    mkdirSync(dirname(join(directory, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, path), content, { mode: 0o600 });
    chmodSync(join(directory, path), mode & 0o755);
  }
}

/** From here on the restore has happened. */
export async function commitStaging(dataDirectory: string): Promise<void> {
  const directory = partial(dataDirectory);
  const staged = (item: string): boolean => existsSync(join(directory, item));
  const items = [...DATABASE, ...KEPT];
  const plan: RestorePlan = { move: items.filter(staged), remove: items.filter((item) => !staged(item)) };
  writeFileSync(join(directory, PLAN_FILE), JSON.stringify(plan), { mode: 0o600 });
  for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) syncPath(join(directory, path));
  syncPath(directory);
  renameSync(directory, restoreDirectory(dataDirectory));
  await syncDirectory(dataDirectory);
  finishRestore(dataDirectory);
}

function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
