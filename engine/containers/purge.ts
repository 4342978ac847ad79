/** Takes away what an engine made, with no engine running: what is in the kernel first, then the files. */
import { existsSync, watch } from 'node:fs';
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openCni } from '../network/cni/network.ts';
import { Network } from '../network/open.ts';
import { readNetworkRecords } from '../network/user-networks.ts';
import type { EngineOptions } from '../options.ts';
import { hasCode } from '../sys/libc.ts';
import { detachLoopsBelow } from '../sys/loop.ts';
import { unmountBelow } from '../sys/mounts.ts';
import { ProcessHandle } from '../sys/pidfd.ts';
import { Cgroups } from './cgroups.ts';
import { type ContainerRecord, isContainerRecord } from './container-records.ts';
import { type Layout, containerPaths, layout } from './layout.ts';
import { thaw } from './freezer.ts';
import { killNaming } from './recovery.ts';
import { readRecord } from './records.ts';
import { signalNumber } from './signals.ts';

type Log = NonNullable<EngineOptions['log']>;
const removal = { recursive: true, force: true, maxRetries: 5, retryDelay: 20 };

/** Everything but images and the records of containers, which an engine then finds as after a reboot. */
export async function takeDown(options: EngineOptions, log: Log): Promise<void> {
  const where = layout(options);
  const cgroups = new Cgroups(options.instance);
  const network = new Network({ instance: options.instance, ...options.network, log });
  if (existsSync(where.networks)) network.know(readNetworkRecords(where.networks));
  // Monitors and the runtime name our run directory in their command lines; containers are in our cgroups.
  await killNaming(where.runtimeRoot);
  await cgroups.removeAll();
  await (await openCni(options, where.cni, log)).collect(new Set());
  await network.purge();
  if (existsSync(where.run)) unmountBelow(where.run);
  // Volumes may have file systems of their own.
  if (existsSync(where.data)) unmountBelow(where.data);
  detachLoopsBelow(where.data);
  for (const path of [
    where.containersRun,
    where.sandboxesRun,
    where.exits,
    where.execs,
    where.runtimeRoot,
    where.bootFile,
  ]) {
    await rm(path, removal);
  }
  await rm(where.sandboxesData, removal);
}

/** All but the lock, which is the caller's. */
export async function purge(options: EngineOptions, log: Log): Promise<void> {
  const where = layout(options);
  await takeDown(options, log);
  await rm(where.data, removal);
  for (const name of await readdir(where.run)) {
    const path = join(where.run, name);
    if (path !== where.lock) await rm(path, removal);
  }
}

/** When its lock was let go; whoever has taken it since has the directory. */
export async function removeRunDirectory(options: EngineOptions): Promise<void> {
  await rmdir(layout(options).run).catch((error: unknown) => {
    if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'ENOENT')) throw error;
  });
}

/** Stop signals first, and time to obey them. */
export async function stopGracefully(options: EngineOptions, graceSeconds: number): Promise<void> {
  const where = layout(options);
  const cgroups = new Cgroups(options.instance);
  const waiting = new Map<string, ProcessHandle>();
  for (const record of await runningRecords(where)) {
    const handle = record.pid === undefined ? undefined : ProcessHandle.open(record.pid, record.pidStartTime);
    if (handle?.signal(signalNumber(record.stopSignal)) !== true) continue;
    waiting.set(record.id, handle);
    // Also what an engine froze that was killed before it could say so.
    await thaw(cgroups, cgroups.path(record.sandbox, record.id));
  }
  try {
    await exitFiles(where.exits, new Set(waiting.keys()), AbortSignal.timeout(graceSeconds * 1000));
  } finally {
    for (const handle of waiting.values()) handle.close();
  }
}

async function runningRecords(where: Layout): Promise<ContainerRecord[]> {
  const ids = await readdir(where.containersData).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  });
  const records = await Promise.all(ids.map((id) => readRecord(containerPaths(where, id).record, isContainerRecord)));
  return records.filter((record) => record?.state === 'running').filter((record) => record !== undefined);
}

/** Resolves when conmon wrote down the end of each, or when the time is up; those that are left in `ids` then did not end. */
export async function exitFiles(directory: string, ids: Set<string>, timeout: AbortSignal): Promise<void> {
  if (ids.size === 0) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    for (const id of ids) if (existsSync(join(directory, id))) ids.delete(id);
    if (ids.size === 0) resolve();
  };
  const watcher = watch(directory, look);
  timeout.addEventListener('abort', () => resolve(), { once: true });
  look();
  try {
    await promise;
  } finally {
    watcher.close();
  }
}
