/** Limits as the kernel's cgroup files want them (cgroup-v1/, cgroup-v2.rst), written to one that is there. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, type Limits } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';

/** What is needed of `Cgroups`. */
interface Place {
  readonly version: 'v1' | 'v2';
  readonly swapAccounting: boolean;
  directory(controller: string, path: string): string;
}

export const cpuPeriod = 100_000;

/** In microseconds of each period; the kernel takes no less than a millisecond. */
export function cpuQuota(cpuMillis: number): number {
  return Math.max(1000, Math.round((cpuMillis * cpuPeriod) / 1000));
}

/** Only what is named. @throws EngineError `invalid` where the kernel refuses a value */
export async function writeLimits(place: Place, path: string, limits: Limits): Promise<void> {
  const { memoryBytes, memoryReservationBytes, cpuMillis, cpuShares, pids, cpuset, memoryNodes, blockWeight } = limits;
  const v2 = place.version === 'v2';
  const write = async (controller: string, file: string, value: string): Promise<void> => {
    try {
      await writeFile(join(place.directory(controller, path), file), value);
    } catch (error) {
      if (!hasCode(error, 'EBUSY', 'EINVAL', 'ERANGE', 'EACCES', 'EPERM', 'ENOSPC')) throw error;
      throw new EngineError('invalid', `limits: the kernel refuses ${value} for ${file}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  if (memoryBytes !== undefined || limits.memorySwapBytes !== undefined) await writeMemory(place, path, limits, write);
  if (memoryReservationBytes !== undefined)
    await write('memory', v2 ? 'memory.low' : 'memory.soft_limit_in_bytes', String(memoryReservationBytes));
  if (pids !== undefined) await write('pids', 'pids.max', String(pids));
  if (cpuMillis !== undefined) {
    if (v2) await write('cpu', 'cpu.max', `${cpuQuota(cpuMillis)} ${cpuPeriod}`);
    else {
      await write('cpu', 'cpu.cfs_period_us', String(cpuPeriod));
      await write('cpu', 'cpu.cfs_quota_us', String(cpuQuota(cpuMillis)));
    }
  }
  if (cpuShares !== undefined)
    await write('cpu', v2 ? 'cpu.weight' : 'cpu.shares', String(v2 ? weightOf(cpuShares) : cpuShares));
  if (cpuset !== undefined) await write('cpuset', 'cpuset.cpus', cpuset);
  if (memoryNodes !== undefined) await write('cpuset', 'cpuset.mems', memoryNodes);
  if (blockWeight !== undefined)
    await write('blkio', v2 ? 'io.weight' : 'blkio.weight', v2 ? `default ${blockWeight}` : String(blockWeight));
}

type Write = (controller: string, file: string, value: string) => Promise<void>;

async function writeMemory(place: Place, path: string, limits: Limits, write: Write): Promise<void> {
  const { memoryBytes, memorySwapBytes = memoryBytes } = limits;
  if (place.version === 'v2') {
    if (memoryBytes !== undefined) await write('memory', 'memory.max', String(memoryBytes));
    if (memorySwapBytes === undefined) return;
    const swap = memorySwapBytes < 0 ? 'max' : String(Math.max(0, memorySwapBytes - (memoryBytes ?? 0)));
    await write('memory', 'memory.swap.max', swap);
    return;
  }
  const memory: [string, number | undefined] = ['memory.limit_in_bytes', memoryBytes];
  if (!place.swapAccounting) return await writeEach(write, [memory]);
  const swap: [string, number | undefined] = ['memory.memsw.limit_in_bytes', memorySwapBytes];
  const now = Number(await readFile(join(place.directory('memory', path), 'memory.memsw.limit_in_bytes'), 'utf8'));
  // The kernel never lets the one be above the other: which goes first depends on whether they grow.
  const grows = memorySwapBytes !== undefined && (memorySwapBytes < 0 || memorySwapBytes > now);
  await writeEach(write, grows ? [swap, memory] : [memory, swap]);
}

async function writeEach(write: Write, values: [string, number | undefined][]): Promise<void> {
  for (const [file, value] of values) if (value !== undefined) await write('memory', file, String(value));
}

/** cpu.shares (2 to 262144) as cpu.weight (1 to 10000), as every runtime does it. */
function weightOf(shares: number): number {
  return 1 + Math.floor(((shares - 2) * 9999) / 262_142);
}
