/**
 * What is found on open. Whatever was killed in the middle of something left one of these:
 *   - directories without a record: a creation or a removal that did not end: removed
 *   - a record with a `starting` mark: conmon and the runtime may still be at it, or the process may wait at its fifo. They are
 *     stopped, and the container is `created` again, since its command was never executed
 *   - a running record: adopted as it is, or `exited` where the machine was booted since
 */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bootId } from '#lib/boot-id.ts';
import { processStartTime } from '#lib/process-start-time.ts';
import { type ContainerExit, EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { MountFlag, bindMount, mount, mounts, unmountBelow } from '../sys/mounts.ts';
import type { Cgroups } from './cgroups.ts';
import { removeBundle } from './container-files.ts';
import { type ContainerRecord, isContainerRecord } from './container-records.ts';
import { pidOf } from './conmon.ts';
import { readEnd } from './ends.ts';
import { type Layout, containerPaths } from './layout.ts';
import { readRecord, removeAsides, writeRecord } from './records.ts';

/**
 * Debian mounts /run noexec. Whatever is bound from there into a user namespace keeps that, and the runtime, which does not
 * know of it, is refused with EPERM. A mount of our own on the run directory, from before anything is bound out of it, is free.
 */
function allowPrograms(run: string): void {
  if (mounts().some(({ target }) => target === run || target.startsWith(`${run}/`))) return;
  bindMount(run, run);
  mount('none', run, '', MountFlag.remount | MountFlag.bind | MountFlag.noSuid | MountFlag.noDev, null);
}

/** Makes the directories, and clears the run directory where it is of an earlier boot (it need not be on tmpfs). */
export async function prepareDirectories(layout: Layout, instance: string): Promise<void> {
  const boot = bootId();
  await mkdir(layout.run, { recursive: true, mode: 0o711 });
  allowPrograms(layout.run);
  await makePassable(layout.run);
  const known = existsSync(layout.bootFile) ? readFileSync(layout.bootFile, 'utf8').trim() : undefined;
  if (known !== undefined && known !== boot) {
    for (const directory of [
      layout.containersRun,
      layout.sandboxesRun,
      layout.exits,
      layout.execs,
      layout.runtimeRoot,
    ]) {
      unmountBelow(directory);
      await rm(directory, { recursive: true, force: true });
    }
  }
  for (const directory of [layout.containersRun, layout.sandboxesRun])
    await mkdir(directory, { recursive: true, mode: 0o711 });
  for (const directory of [layout.exits, layout.runtimeRoot, layout.data, layout.containersData]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  await removeAsides(layout.data);
  await killExecs(layout, instance);
  await rm(layout.execs, { recursive: true, force: true });
  await mkdir(layout.execs, { mode: 0o700 });
  await writeFile(layout.bootFile, boot);
}

/** Container roots, who are nobody here, must be able to pass through; listing stays root's. */
async function makePassable(run: string): Promise<void> {
  for (const directory of [run, dirname(run)]) await chmod(directory, ((await stat(directory)).mode & 0o7777) | 0o111);
  for (let directory = dirname(dirname(run)); directory !== '/'; directory = dirname(directory)) {
    if (((await stat(directory)).mode & 0o001) !== 0) continue;
    throw new EngineError(
      'invalid',
      `runDirectory: ${directory} above it cannot be passed by other users: chmod o+x it, or use a directory below /run`,
    );
  }
}

/** The containers that are whole. Their sandboxes are open already. */
export async function recoverContainers(
  layout: Layout,
  cgroups: Cgroups,
  isSandbox: (id: string) => boolean,
): Promise<ContainerRecord[]> {
  const records: ContainerRecord[] = [];
  for (const id of await readdir(layout.containersData)) {
    const record = await readRecord(containerPaths(layout, id).record, isContainerRecord);
    if (record === undefined) {
      await removeBundle(layout, id);
      continue;
    }
    await removeAsides(containerPaths(layout, id).data);
    records.push(await recoverContainer(layout, cgroups, record, isSandbox(record.sandbox)));
  }
  const known = new Set(records.map(({ id }) => id));
  for (const id of await readdir(layout.containersRun)) if (!known.has(id)) await removeBundle(layout, id);
  // An end is written down first, and what the runtime left is removed after it.
  const running = new Set(records.filter(({ state }) => state === 'running').map(({ id }) => id));
  for (const id of await readdir(layout.runtimeRoot)) {
    if (!running.has(id)) await rm(containerPaths(layout, id).runtime, { recursive: true, force: true });
  }
  for (const id of await readdir(layout.exits)) {
    if (!running.has(id)) await rm(join(layout.exits, id), { force: true });
  }
  for (const id of await cgroups.sandboxes()) {
    if (!isSandbox(id)) await cgroups.remove(cgroups.path(id));
    else
      for (const container of await cgroups.containers(id))
        if (!running.has(container)) await cgroups.remove(cgroups.path(id, container));
  }
  return records;
}

async function recoverContainer(
  layout: Layout,
  cgroups: Cgroups,
  record: ContainerRecord,
  hasSandbox: boolean,
): Promise<ContainerRecord> {
  const paths = containerPaths(layout, record.id);
  if (!existsSync(paths.run)) {
    // One that never ran, in a sandbox that can be recovered, waits on.
    if (record.state === 'exited' || (record.state === 'created' && hasSandbox)) return record;
    const message = 'the machine was booted, or the platform taken down, since it ran';
    const { pid: _pid, pidStartTime: _start, paused: _paused, ...rest } = record;
    const written =
      record.state === 'running'
        ? await readEnd({ file: join(paths.persist, 'exit'), persist: paths.persist, oomKills: 0 })
        : undefined;
    const code = record.state === 'running' ? 137 : 128;
    const exit: ContainerExit = written ?? { code, oomKilled: false, at: Date.now(), message };
    const lost: ContainerRecord = { ...rest, state: 'exited', exit };
    writeRecord(paths.record, lost);
    return lost;
  }
  if (record.state !== 'running' && existsSync(paths.starting)) {
    await killStarting(layout, cgroups, record);
  }
  return record;
}

/** Stops a start that did not end: monitor, runtime, and the process that waits. Leaves the container as it was created. */
export async function killStarting(layout: Layout, cgroups: Cgroups, record: ContainerRecord): Promise<void> {
  const paths = containerPaths(layout, record.id);
  const path = cgroups.path(record.sandbox, record.id);
  // First those that make processes. Their command lines carry the id; the process id files may not be there yet.
  await killNaming(record.id);
  const pid = await pidOf(paths.pid);
  await cgroups.remove(path);
  await rm(paths.runtime, { recursive: true, force: true });
  for (const file of [paths.pid, paths.conmonPid, paths.starting, `${layout.exits}/${record.id}`])
    await rm(file, { force: true });
  if (pid !== undefined) await processEnd(pid);
  for (const name of await readdir(paths.persist).catch(() => []))
    await rm(`${paths.persist}/${name}`, { force: true });
}

/** Kills every process with the text in its command line, until there is none. */
export async function killNaming(text: string): Promise<void> {
  for (let found = await processesNaming(text); found.length > 0; found = await processesNaming(text)) {
    for (const pid of found) kill(pid);
    await Promise.all(found.map(processEnd));
  }
}

/** What an earlier engine executed in containers: nobody reads its output any more. */
async function killExecs(layout: Layout, instance: string): Promise<void> {
  for (const name of await readdir(layout.execs).catch(() => [])) {
    const pid = await pidOf(`${layout.execs}/${name}/pid`);
    if (pid === undefined || !existsSync(`/proc/${pid}`)) continue;
    // The number may belong to another process by now.
    if (readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/sampan-${instance}/`)) kill(pid);
  }
}

/** Processes with the text in their command line. */
async function processesNaming(text: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid) || pid === process.pid) continue;
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text)) found.push(pid);
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ESRCH')) throw error;
    }
  }
  return found;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

/** A killed process that is not our child: nobody tells, so look, for a second at most. */
async function processEnd(pid: number): Promise<void> {
  const startTime = processStartTime(pid);
  for (let attempt = 0; attempt < 100 && startTime !== undefined && processStartTime(pid) === startTime; attempt += 1) {
    if (/^State:\s+Z/m.test(statusOf(pid))) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    // It ended between the two looks.
    return '';
  }
}
