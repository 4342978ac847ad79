/** Limits, freezer and usage of both cgroup versions over plain files: a machine has one version only. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { freeze, isFrozen, thaw } from './freezer.ts';
import { writeLimits } from './limits.ts';
import { parseHostCpu, parseNetworks, readUsage } from './usage.ts';

const made: string[] = [];
after(() => {
  for (const directory of made) rmSync(directory, { recursive: true });
});

function place(version: 'v1' | 'v2', files: Record<string, string> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'cgroup-'));
  made.push(directory);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  const read = (): Record<string, string> =>
    Object.fromEntries(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')]));
  return { version, swapAccounting: true, directory: () => directory, read };
}

const limits = {
  memoryBytes: 1000,
  memorySwapBytes: 3000,
  memoryReservationBytes: 500,
  cpuMillis: 500,
  cpuShares: 1024,
  pids: 7,
  cpuset: '0',
  memoryNodes: '0',
  blockWeight: 200,
};

test('limits as v2 wants them', async () => {
  const v2 = place('v2');
  await writeLimits(v2, '', limits);
  assert.deepEqual(v2.read(), {
    'memory.max': '1000',
    'memory.swap.max': '2000',
    'memory.low': '500',
    'cpu.max': '50000 100000',
    'cpu.weight': '39',
    'pids.max': '7',
    'cpuset.cpus': '0',
    'cpuset.mems': '0',
    'io.weight': 'default 200',
  });
  await writeLimits(v2, '', { memoryBytes: 1000, memorySwapBytes: -1 });
  assert.equal(v2.read()['memory.swap.max'], 'max');
});

test('limits as v1 wants them', async () => {
  const v1 = place('v1', { 'memory.memsw.limit_in_bytes': '1000' });
  await writeLimits(v1, '', limits);
  assert.deepEqual(v1.read(), {
    'memory.memsw.limit_in_bytes': '3000',
    'memory.limit_in_bytes': '1000',
    'memory.soft_limit_in_bytes': '500',
    'cpu.cfs_period_us': '100000',
    'cpu.cfs_quota_us': '50000',
    'cpu.shares': '1024',
    'pids.max': '7',
    'cpuset.cpus': '0',
    'cpuset.mems': '0',
    'blkio.weight': '200',
  });
});

test('the freezer of v2', async () => {
  const v2 = place('v2', { 'cgroup.events': 'populated 1\nfrozen 1\n' });
  await freeze(v2, '');
  assert.equal(v2.read()['cgroup.freeze'], '1');
  assert.ok(await isFrozen(v2, ''));
  await thaw(v2, '');
  assert.equal(v2.read()['cgroup.freeze'], '0');
  const stuck = place('v1', { 'freezer.state': 'FREEZING' });
  assert.equal(await isFrozen(stuck, ''), false);
});

test('usage as v2 tells it', async () => {
  const v2 = place('v2', {
    'cpu.stat': 'usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n',
    'memory.current': '4096\n',
    'memory.max': 'max\n',
    'memory.stat': 'anon 1024\ninactive_file 512\n',
    'memory.events': 'low 0\nmax 3\n',
    'pids.current': '2\n',
    'pids.max': '10\n',
    'io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:1 rbytes=5 wbytes=0 rios=1 wios=0\n',
  });
  const { cpu, memory, processes, blocks } = await readUsage(v2, '', process.pid);
  assert.deepEqual(
    [cpu.totalNanos, cpu.userNanos, cpu.kernelNanos, cpu.periods, cpu.throttledPeriods, cpu.throttledNanos],
    [5_000_000, 3_000_000, 2_000_000, 4, 2, 7000],
  );
  assert.deepEqual(memory, { bytes: 4096, failures: 3, counters: { anon: 1024, inactive_file: 512 } });
  assert.deepEqual(processes, { current: 2, limit: 10 });
  assert.deepEqual(blocks, [
    { major: 8, minor: 0, readBytes: 10, writtenBytes: 20, reads: 1, writes: 2 },
    { major: 253, minor: 1, readBytes: 5, writtenBytes: 0, reads: 1, writes: 0 },
  ]);
});

test('the host’s cpus and a namespace’s networks', () => {
  const stat = 'cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 0 0 0\ncpu1 1 0 0 0\nintr 1\n';
  assert.deepEqual(parseHostCpu(stat), { hostNanos: 280_000_000, onlineCpus: 2 });
  const text =
    'Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n';
  assert.deepEqual(parseNetworks(text), {
    eth0: {
      receivedBytes: 10,
      receivedPackets: 2,
      receivedErrors: 3,
      receivedDropped: 4,
      sentBytes: 50,
      sentPackets: 6,
      sentErrors: 7,
      sentDropped: 8,
    },
  });
});
