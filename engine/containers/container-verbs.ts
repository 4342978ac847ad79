/** Pause, rename, update, and what a container uses: Docker's verbs on a container that is there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EngineEvent, EngineError, type Limits } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import type { ContainerChange, ContainerProcess, ContainerUsage, LimitSupport } from '../verbs.ts';
import type { Cgroups } from './cgroups.ts';
import type { ContainerRecord } from './container-records.ts';
import { validateLimits } from './container-spec.ts';
import type { Containers } from './containers.ts';
import { freeze, thaw } from './freezer.ts';
import type { ContainerPaths } from './layout.ts';
import { writeLimits } from './limits.ts';
import { type OciConfig, ociResources } from './oci.ts';
import { processTable } from './process-table.ts';
import { writeRecord } from './records.ts';
import type { Sandboxes } from './sandboxes.ts';
import { readUsage } from './usage.ts';

export interface VerbRooms {
  containers: Containers;
  sandboxes: Sandboxes;
  cgroups: Cgroups;
  emit: (event: EngineEvent) => void;
}

export async function pause({ containers, cgroups, emit }: VerbRooms, id: string): Promise<void> {
  await containers.edit(id, async (record) => {
    if (record.state !== 'running') throw new EngineError('conflict', `Container ${id} is not running`);
    if (record.paused === true) throw new EngineError('conflict', `Container ${id} is already paused`);
    await freeze(cgroups, cgroups.path(record.sandbox, id));
    return { ...record, paused: true };
  });
  emit(event('container-paused', containers, id));
}

export async function unpause({ containers, cgroups, emit }: VerbRooms, id: string): Promise<void> {
  await containers.edit(id, async (record) => {
    if (record.paused !== true) throw new EngineError('conflict', `Container ${id} is not paused`);
    await thaw(cgroups, cgroups.path(record.sandbox, id));
    const { paused: _paused, ...rest } = record;
    return rest;
  });
  emit(event('container-unpaused', containers, id));
}

function event(type: EngineEvent['type'], containers: Containers, id: string): EngineEvent {
  const sandbox = containers.get(id)?.sandbox;
  return { at: Date.now(), type, id, ...(sandbox === undefined ? {} : { sandbox }) };
}

export async function rename({ containers }: VerbRooms, id: string, name: string): Promise<void> {
  await containers.edit(id, async (record) => ({ ...record, name, spec: { ...record.spec, name } }));
}

export async function update({ containers, cgroups }: VerbRooms, id: string, change: ContainerChange): Promise<void> {
  validateLimits(change.limits ?? {});
  await containers.edit(id, async (record, paths) => {
    const { limits, labels } = change;
    const changed: ContainerRecord = { ...record, ...(labels === undefined ? {} : { labels: { ...labels } }) };
    if (limits === undefined || Object.keys(limits).length === 0) return changed;
    const all: Limits = { ...record.spec.limits, ...limits };
    // The kernel keeps the two in one order: where one changes, both are said.
    const { memorySwapBytes } = limits.memoryBytes === undefined ? limits : all;
    const now: Limits = { ...limits, ...(memorySwapBytes === undefined ? {} : { memorySwapBytes }) };
    if (record.state === 'running') {
      await writeLimits(cgroups, cgroups.path(record.sandbox, id), now).catch((error: unknown) => {
        if (hasCode(error, 'ENOENT', 'ENODEV')) throw new EngineError('conflict', `container ${id} has just ended`);
        throw error;
      });
    }
    rewriteResources(paths, all, cgroups.swapAccounting);
    return { ...changed, spec: { ...record.spec, limits: all } };
  });
}

/** What the runtime is told at the next start. Nothing where the bundle is gone: then there is no next start. */
function rewriteResources({ bundle }: ContainerPaths, limits: Limits, swapAccounting: boolean): void {
  const file = join(bundle, 'config.json');
  try {
    const config = JSON.parse(readFileSync(file, 'utf8')) as OciConfig;
    const { devices } = config.linux['resources'] as { devices: unknown };
    const resources = { ...ociResources(limits, swapAccounting), devices };
    writeRecord(file, { ...config, linux: { ...config.linux, resources } });
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

export async function processes(rooms: VerbRooms, id: string): Promise<ContainerProcess[]> {
  const { sandbox, path } = running(rooms, id);
  const range = rooms.sandboxes.get(sandbox)?.idRange ?? { first: 0, length: 0 };
  return await processTable(await rooms.cgroups.processes(path), range);
}

export async function usage(rooms: VerbRooms, id: string): Promise<ContainerUsage> {
  const { pid, path } = running(rooms, id);
  return await readUsage(rooms.cgroups, path, pid);
}

export function limitSupport({ cgroups }: VerbRooms): LimitSupport {
  const v2 = cgroups.version === 'v2';
  return {
    swap: cgroups.swapAccounting,
    cpuset: cgroups.has('cpuset', v2 ? 'cpuset.cpus.effective' : 'cpuset.cpus'),
    blockWeight: cgroups.has('blkio', v2 ? 'io.weight' : 'blkio.weight'),
  };
}

function running({ containers, cgroups }: VerbRooms, id: string): { sandbox: string; pid: number; path: string } {
  const container = containers.get(id);
  if (container === undefined) throw new EngineError('not-found', `no container ${id}`);
  const { state, sandbox, pid } = container;
  if (state !== 'running' || pid === undefined) throw new EngineError('conflict', `container ${id} is not running`);
  return { sandbox, pid, path: cgroups.path(sandbox, id) };
}
