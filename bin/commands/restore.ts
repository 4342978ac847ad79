import { randomUUID } from 'node:crypto';
import { chmodSync, createReadStream, existsSync, mkdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { firstRevisionAfter } from '#cluster/store/copy.ts';
import { copyIntoEtcd } from '#cluster/store/etcd/copy-in.ts';
import { copyIntoSqlite } from '#cluster/store/sqlite/copy-in.ts';
import { Progress } from '#lib/progress.ts';
import { type Archive, BackupError, type BackupFile, readArchive } from '../backup/archive.ts';
import { finishRestore } from '../backup/finish.ts';
import { abandonStaging, beginStaging, commitStaging, stageFiles } from '../backup/staging.ts';
import { HostError } from '../host-error.ts';
import {
  type Instance,
  type InstanceFlags,
  instanceDirectories,
  instanceText,
  readInstance,
  requireDown,
} from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { requireRoot } from '../preflight.ts';
import { removeHalf, requireReachable, unreachable, writtenPlace } from '../store/open.ts';
import { driverOf, etcdSettings, otherHalf, parseDriver, storeFlags } from '../store/settings.ts';

/** Killed at any moment, it leaves the instance as it was, or as the backup has it. */
export async function restore(flags: InstanceFlags, file: string): Promise<void> {
  requireRoot('A restore');
  const source = file === '-' ? process.stdin : open(file);
  const progress = new Progress();
  try {
    const archive = await readArchive(source);
    const instance = await progress.step(
      `restoring ${archive.manifest.instance} as of ${archive.manifest.createdAt}`,
      () => locked({ ...flags, name: flags.name ?? process.env.SAMPAN_NAME ?? archive.manifest.instance }, archive),
    );
    process.stdout.write(`Restored ${instance.name} in ${instance.dataDirectory}. Start it with \`sampan up\`.\n`);
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    throw new HostError(
      'backup-unusable',
      `Cannot restore ${file}: ${error.message}.`,
      error.code === 'foreign' ? 'Use the version that wrote it.' : 'The file is damaged: use another backup.',
      { cause: error },
    );
  } finally {
    source.destroy();
  }
}

function open(file: string): Readable {
  if (existsSync(file)) return createReadStream(file, { highWaterMark: 1 << 20 });
  throw new HostError('io', `There is no file ${file}.`, 'Name a file that `sampan backup` wrote.');
}

async function locked(flags: InstanceFlags, archive: Archive): Promise<Instance> {
  const release = await lockInstance(flags);
  const { dataDirectory } = instanceDirectories(flags);
  try {
    requireDown(flags);
    finishRestore(dataDirectory);
    return await replaced(flags, archive);
  } catch (error) {
    abandonStaging(dataDirectory);
    throw error;
  } finally {
    release();
  }
}

async function replaced(flags: InstanceFlags, { manifest, files, pages }: Archive): Promise<Instance> {
  const known = readInstance(flags);
  const instance = placed(flags, instanceOf(files), known);
  await requireReachable(instance);
  mkdirSync(instance.dataDirectory, { recursive: true, mode: 0o711 });
  chmodSync(instance.dataDirectory, 0o711);
  const { directory, database } = beginStaging(instance.dataDirectory);
  stageFiles(directory, [
    ...files.filter(({ path }) => path !== INSTANCE),
    { path: INSTANCE, mode: 0o644, content: Buffer.from(instanceText(instance)) },
  ]);
  const after = firstRevisionAfter(manifest.revision);
  const { store } = instance;
  if (store === undefined) await copyIntoSqlite(database, pages, after);
  else
    await copyIntoEtcd(writtenPlace(instance, store), pages, after).catch((error: unknown) => {
      throw unreachable(store, error);
    });
  await commitStaging(instance.dataDirectory);
  // What it was before is nobody's any more.
  if (known?.store !== undefined) await removeHalf(instance, known.store);
  return instance;
}

const INSTANCE = 'instance.json';

function instanceOf(files: readonly BackupFile[]): Instance {
  const file = files.find(({ path }) => path === INSTANCE);
  try {
    return JSON.parse(Buffer.from(file?.content ?? []).toString()) as Instance;
  } catch (cause) {
    throw new BackupError('damaged', `it holds no ${INSTANCE}`, { cause });
  }
}

/** The backup's instance, where and by which name it is wanted. By another name it is another instance. */
function placed(flags: InstanceFlags, backup: Instance, known: Instance | undefined): Instance {
  const { store: kept, ...rest } = backup;
  const directories = instanceDirectories(flags);
  const same = backup.name === directories.name;
  const instance = { ...rest, ...directories, id: same ? (backup.id ?? randomUUID()) : randomUUID() };
  const given = storeFlags(flags);
  const driver = given.store === undefined ? driverOf(backup) : parseDriver(given.store);
  if (driver === 'sqlite') return instance;
  const own = known?.store ?? (same ? kept : undefined);
  const store = etcdSettings(given, own, instance);
  return { ...instance, store: own === undefined ? store : { ...store, half: otherHalf(own.half) } };
}
