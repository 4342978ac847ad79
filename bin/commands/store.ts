/** `sampan store move`: the state goes to another driver, while the instance is down. */
import { renameSync, rmSync } from 'node:fs';
import { firstRevisionAfter, requireSame } from '#cluster/store/copy.ts';
import { copyIntoEtcd } from '#cluster/store/etcd/copy-in.ts';
import { databaseFiles } from '#cluster/store/sqlite/made.ts';
import { copyIntoSqlite } from '#cluster/store/sqlite/copy-in.ts';
import { sqliteSnapshot } from '#cluster/store/sqlite/snapshot.ts';
import { syncDirectory } from '#lib/atomic-file.ts';
import { Progress } from '#lib/progress.ts';
import { dirname } from 'node:path';
import { finishRestore } from '../backup/finish.ts';
import { HostError } from '../host-error.ts';
import {
  type Instance,
  type InstanceFlags,
  instanceDirectories,
  keepInstance,
  requireDown,
  requireInstance,
} from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { requireRoot } from '../preflight.ts';
import { instanceSnapshot, removeState, requireReachable, unreachable, writtenPlace } from '../store/open.ts';
import { type Driver, driverOf, etcdSettings, parseDriver, sqlitePath, storeFlags } from '../store/settings.ts';

/**
 * Copies every key, compares every key, and only then says where the state is: killed before, the instance is as it was, and the move is
 * begun again; killed after, the old copy is left over. What rests encrypted stays so: the copy is of bytes.
 */
export async function moveStore(flags: InstanceFlags, options: { to: string }): Promise<void> {
  requireRoot('Moving the state');
  const to = parseDriver(options.to);
  const release = await lockInstance(flags);
  try {
    requireDown(flags);
    finishRestore(instanceDirectories(flags).dataDirectory);
    await move(requireInstance(flags), to, flags);
  } finally {
    release();
  }
}

async function move(instance: Instance, to: Driver, flags: InstanceFlags): Promise<void> {
  if (driverOf(instance) === to)
    throw new HostError('conflict', `The state is in ${to} already.`, `Start the instance with \`sampan up\`.`);
  const progress = new Progress();
  const moved = to === 'etcd' ? await intoEtcd(instance, flags, progress) : await intoSqlite(instance, progress);
  keepInstance(moved);
  await progress.step('removing what was copied', async () => {
    if (instance.store === undefined) removeDatabase(sqlitePath(instance.dataDirectory));
    else await removeState(instance, instance.store);
  });
  process.stdout.write(`The state is in ${to}. Start the instance with \`sampan up\`.\n`);
}

async function intoEtcd(instance: Instance, flags: InstanceFlags, progress: Progress): Promise<Instance> {
  const store = etcdSettings(storeFlags(flags), undefined, instance);
  const moved = { ...instance, store };
  await progress.step('reaching etcd', () => requireReachable(moved));
  await progress.step('copying into etcd', async (say) => {
    try {
      const after = firstRevisionAfter(await revisionOf(instance));
      const keys = await copyIntoEtcd(writtenPlace(instance, store), instanceSnapshot(instance), after);
      say(`${keys} keys`);
    } catch (error) {
      throw unreachable(store, error);
    }
  });
  await progress.step('comparing', () => requireSame(instanceSnapshot(instance), instanceSnapshot(moved)));
  return moved;
}

async function intoSqlite(instance: Instance, progress: Progress): Promise<Instance> {
  const path = sqlitePath(instance.dataDirectory);
  const aside = `${path}.moving`;
  removeDatabase(aside);
  await progress.step('copying into sqlite', async (say) => {
    const after = firstRevisionAfter(await revisionOf(instance));
    const keys = await copyIntoSqlite(aside, instanceSnapshot(instance), after);
    say(`${keys} keys`);
  });
  await progress.step('comparing', () => requireSame(instanceSnapshot(instance), sqliteSnapshot(aside)));
  removeDatabase(path);
  renameSync(aside, path);
  await syncDirectory(dirname(path));
  const { store: _store, ...moved } = instance;
  return moved;
}

async function revisionOf(instance: Instance): Promise<number> {
  for await (const { revision } of instanceSnapshot(instance)) return revision;
  return 0;
}

function removeDatabase(path: string): void {
  for (const file of databaseFiles(path)) rmSync(file, { force: true });
}
