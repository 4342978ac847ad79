/** What a container uses, from its cgroup's files and its network namespace; v1 and v2 (cgroup-v1/, cgroup-v2.rst). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../sys/libc.ts';
import type { BlockUsage, ContainerUsage, NetworkUsage } from '../verbs.ts';
import type { Cgroups } from './cgroups.ts';

/** v1 says "no limit" with a number near 2^63. */
const noLimit = 2 ** 60;
/** USER_HZ, which is 100 on every architecture that we run on. */
const nanosOfTick = 10_000_000;

export async function readUsage(
  cgroups: Pick<Cgroups, 'version' | 'directory'>,
  path: string,
  pid: number,
): Promise<ContainerUsage> {
  const read = async (controller: string, file: string): Promise<string> =>
    await optional(join(cgroups.directory(controller, path), file));
  const v2 = cgroups.version === 'v2';
  const [cpu, memory, processes, blocks, host, networks] = await Promise.all([
    v2 ? cpuV2(read) : cpuV1(read),
    v2 ? memoryV2(read) : memoryV1(read),
    processCounts(read),
    v2 ? blocksV2(read) : blocksV1(read),
    readFile('/proc/stat', 'utf8').then(parseHostCpu),
    optional(`/proc/${pid}/net/dev`).then(parseNetworks),
  ]);
  return { at: Date.now(), cpu: { ...cpu, ...host }, memory, processes, blocks, networks };
}

type Read = (controller: string, file: string) => Promise<string>;
type CpuUsage = Omit<ContainerUsage['cpu'], 'hostNanos' | 'onlineCpus'>;

async function cpuV1(read: Read): Promise<CpuUsage> {
  const [total, user, kernel, stat] = await Promise.all([
    read('cpuacct', 'cpuacct.usage'),
    read('cpuacct', 'cpuacct.usage_user'),
    read('cpuacct', 'cpuacct.usage_sys'),
    read('cpu', 'cpu.stat').then(parseCounters),
  ]);
  return {
    totalNanos: Number(total),
    userNanos: Number(user),
    kernelNanos: Number(kernel),
    periods: stat['nr_periods'] ?? 0,
    throttledPeriods: stat['nr_throttled'] ?? 0,
    throttledNanos: stat['throttled_time'] ?? 0,
  };
}

async function cpuV2(read: Read): Promise<CpuUsage> {
  const stat = parseCounters(await read('cpu', 'cpu.stat'));
  const nanos = (name: string): number => (stat[name] ?? 0) * 1000;
  return {
    totalNanos: nanos('usage_usec'),
    userNanos: nanos('user_usec'),
    kernelNanos: nanos('system_usec'),
    periods: stat['nr_periods'] ?? 0,
    throttledPeriods: stat['nr_throttled'] ?? 0,
    throttledNanos: nanos('throttled_usec'),
  };
}

async function memoryV1(read: Read): Promise<ContainerUsage['memory']> {
  const [bytes, peak, limit, failures, counters] = await Promise.all([
    read('memory', 'memory.usage_in_bytes'),
    read('memory', 'memory.max_usage_in_bytes'),
    read('memory', 'memory.limit_in_bytes'),
    read('memory', 'memory.failcnt'),
    read('memory', 'memory.stat').then(parseCounters),
  ]);
  return {
    bytes: Number(bytes),
    peakBytes: Number(peak),
    ...limited(limit),
    failures: Number(failures),
    counters,
  };
}

async function memoryV2(read: Read): Promise<ContainerUsage['memory']> {
  const [bytes, peak, limit, events, counters] = await Promise.all([
    read('memory', 'memory.current'),
    read('memory', 'memory.peak'),
    read('memory', 'memory.max'),
    read('memory', 'memory.events').then(parseCounters),
    read('memory', 'memory.stat').then(parseCounters),
  ]);
  return {
    bytes: Number(bytes),
    ...(peak === '' ? {} : { peakBytes: Number(peak) }),
    ...limited(limit),
    failures: events['max'] ?? 0,
    counters,
  };
}

function limited(text: string): { limitBytes?: number } {
  const limit = Number(text);
  return text === '' || Number.isNaN(limit) || limit >= noLimit ? {} : { limitBytes: limit };
}

async function processCounts(read: Read): Promise<ContainerUsage['processes']> {
  const [current, most] = await Promise.all([read('pids', 'pids.current'), read('pids', 'pids.max')]);
  return { current: Number(current), ...(most === 'max' || most === '' ? {} : { limit: Number(most) }) };
}

/** Lines of `MAJOR:MINOR OPERATION NUMBER`. */
async function blocksV1(read: Read): Promise<BlockUsage[]> {
  const found = new Map<string, BlockUsage>();
  const take = (text: string, fields: Partial<Record<string, keyof BlockUsage>>): void => {
    for (const [, major, minor, operation = '', count] of text.matchAll(/^(\d+):(\d+) (\w+) (\d+)$/gm)) {
      const field = fields[operation];
      if (field !== undefined) blockOf(found, Number(major), Number(minor))[field] += Number(count);
    }
  };
  const [bytes, counts] = await Promise.all([
    read('blkio', 'blkio.throttle.io_service_bytes_recursive'),
    read('blkio', 'blkio.throttle.io_serviced_recursive'),
  ]);
  take(bytes, { Read: 'readBytes', Write: 'writtenBytes' });
  take(counts, { Read: 'reads', Write: 'writes' });
  return [...found.values()];
}

/** Lines of `MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N …`. */
async function blocksV2(read: Read): Promise<BlockUsage[]> {
  const names: Readonly<Record<string, keyof BlockUsage>> = {
    rbytes: 'readBytes',
    wbytes: 'writtenBytes',
    rios: 'reads',
    wios: 'writes',
  };
  const found = new Map<string, BlockUsage>();
  for (const [, major, minor, rest = ''] of (await read('io', 'io.stat')).matchAll(/^(\d+):(\d+) (.*)$/gm)) {
    const block = blockOf(found, Number(major), Number(minor));
    for (const [, name = '', count] of rest.matchAll(/(\w+)=(\d+)/g)) {
      const field = names[name];
      if (field !== undefined) block[field] += Number(count);
    }
  }
  return [...found.values()];
}

function blockOf(found: Map<string, BlockUsage>, major: number, minor: number): BlockUsage {
  const key = `${major}:${minor}`;
  const block = found.get(key) ?? { major, minor, readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 };
  found.set(key, block);
  return block;
}

export function parseHostCpu(text: string): { hostNanos: number; onlineCpus: number } {
  const line = /^cpu +(.*)$/m.exec(text)?.[1] ?? '';
  // user, nice, system, idle, iowait, irq, softirq: what a guest used is in user's already.
  const ticks = line.split(' ').slice(0, 7).map(Number);
  return {
    hostNanos: ticks.reduce((sum, one) => sum + one, 0) * nanosOfTick,
    onlineCpus: [...text.matchAll(/^cpu\d+ /gm)].length,
  };
}

/** proc(5), net/dev: eight numbers received, then eight sent. */
export function parseNetworks(text: string): Record<string, NetworkUsage> {
  const found: Record<string, NetworkUsage> = {};
  for (const [, name = '', rest = ''] of text.matchAll(/^ *([^\s:]+): *(.*)$/gm)) {
    if (name === 'lo') continue;
    const numbers = rest.trim().split(/ +/).map(Number);
    const at = (index: number): number => numbers[index] ?? 0;
    found[name] = {
      receivedBytes: at(0),
      receivedPackets: at(1),
      receivedErrors: at(2),
      receivedDropped: at(3),
      sentBytes: at(8),
      sentPackets: at(9),
      sentErrors: at(10),
      sentDropped: at(11),
    };
  }
  return found;
}

/** Lines of `name number`. */
function parseCounters(text: string): Record<string, number> {
  return Object.fromEntries([...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, name = '', value]) => [name, Number(value)]));
}

/** Empty where this kernel has no such file. */
async function optional(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trimEnd();
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'EINVAL', 'ESRCH')) return '';
    throw error;
  }
}
