/** The resources of `HostConfig` and of an update, checked as Docker does, and what this kernel cannot keep as warnings. */
import { availableParallelism } from 'node:os';
import type { Limits } from '../engine.ts';
import type { LimitSupport } from '../verbs.ts';
import type { Fields } from './body.ts';
import { DockerError } from './errors.ts';

const LEAST_MEMORY = 6 * 1024 * 1024;

export interface LimitsRequest {
  limits: Limits;
  warnings: string[];
}

/** Only what is named; 0 and nothing mean that it is not. @param now  of the container that is changed */
export function readLimits(host: Fields, engine: { limitSupport(): LimitSupport }, now: Limits = {}): LimitsRequest {
  const warnings: string[] = [];
  const limits: Limits = { ...memory(host, engine, warnings, now), ...cpu(host) };
  const pids = host.integer('PidsLimit');
  if (pids > 0) limits.pids = pids;
  const weight = host.integer('BlkioWeight');
  if (weight !== 0 && (weight < 10 || weight > 1000))
    throw new DockerError(400, 'Range of blkio weight is from 10 to 1000');
  if (weight > 0 && engine.limitSupport().blockWeight) limits.blockWeight = weight;
  else if (weight > 0)
    warnings.push('Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.');
  for (const field of ['WeightDevice', 'DeviceReadBps', 'DeviceWriteBps', 'DeviceReadIOps', 'DeviceWriteIOps']) {
    if (host.objects(`Blkio${field}`).length > 0)
      warnings.push(`Blkio${field}: block devices have no limits of their own in this engine. Discarded.`);
  }
  if (host.flag('OomKillDisable'))
    warnings.push(
      'Your kernel does not support OomKillDisable for containers of this engine. OomKillDisable discarded.',
    );
  return { limits, warnings };
}

function memory(host: Fields, engine: { limitSupport(): LimitSupport }, warnings: string[], now: Limits): Limits {
  const found: Limits = {};
  const bytes = host.integer('Memory');
  const swap = host.integer('MemorySwap');
  const reservation = host.integer('MemoryReservation');
  if (bytes < 0 || (bytes > 0 && bytes < LEAST_MEMORY))
    throw host.refuse('Memory', 'Minimum memory limit allowed is 6MB');
  if (bytes > 0) found.memoryBytes = bytes;
  const limit = bytes > 0 ? bytes : (now.memoryBytes ?? 0);
  if (swap > 0 && limit === 0)
    throw new DockerError(400, 'You should always set the Memory limit when using Memoryswap limit, see usage');
  if (swap > 0 && swap < limit)
    throw new DockerError(400, 'Minimum memoryswap limit should be larger than memory limit, see usage');
  if (swap !== 0 && limit > 0) {
    if (engine.limitSupport().swap) found.memorySwapBytes = Math.max(swap, -1);
    else
      warnings.push(
        'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
      );
  }
  if (reservation !== 0 && reservation < LEAST_MEMORY)
    throw new DockerError(400, 'Minimum memory reservation allowed is 6MB');
  if (reservation > 0 && limit > 0 && limit < reservation)
    throw new DockerError(400, 'Minimum memory limit can not be less than memory reservation limit, see usage');
  if (reservation > 0) found.memoryReservationBytes = reservation;
  return found;
}

function cpu(host: Fields): Limits {
  const found: Limits = {};
  const nanos = host.integer('NanoCpus');
  const quota = host.integer('CpuQuota');
  const period = host.integer('CpuPeriod');
  const cpus = availableParallelism();
  if (nanos < 0 || nanos > cpus * 1e9)
    throw host.refuse('NanoCpus', `range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  if (nanos > 0 && period > 0)
    throw new DockerError(400, 'Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (nanos > 0 && quota > 0)
    throw new DockerError(400, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (period !== 0 && (period < 1000 || period > 1_000_000))
    throw new DockerError(400, 'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  if (quota > 0 && quota < 1000) throw new DockerError(400, 'CPU cfs quota can not be less than 1ms (i.e. 1000)');
  if (nanos > 0) found.cpuMillis = Math.max(1, Math.round(nanos / 1_000_000));
  else if (quota > 0) found.cpuMillis = Math.max(1, Math.round((quota * 1000) / (period || 100_000)));
  const shares = host.integer('CpuShares');
  if (shares < 0) throw host.refuse('CpuShares', `${shares} is negative`);
  if (shares > 0) found.cpuShares = Math.max(2, Math.min(262_144, shares));
  const set = cpuList(host, 'CpusetCpus');
  if (set !== undefined) {
    const most = Math.max(...set.split(/[-,]/).map(Number));
    if (most >= cpus)
      throw new DockerError(400, `Requested CPUs are not available - requested ${set}, available: 0-${cpus - 1}`);
    found.cpuset = set;
  }
  const nodes = cpuList(host, 'CpusetMems');
  if (nodes !== undefined) found.memoryNodes = nodes;
  return found;
}

function cpuList(host: Fields, field: 'CpusetCpus' | 'CpusetMems'): string | undefined {
  const text = host.text(field);
  if (text === '') return undefined;
  const what = field === 'CpusetCpus' ? 'cpuset cpus' : 'cpuset mems';
  if (!/^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/.test(text))
    throw new DockerError(400, `Invalid value ${text} for ${what}`);
  return text;
}
