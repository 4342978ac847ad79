import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourcesOf, roomOf } from './node-settings.ts';
import { CrossedSince } from './pressure.ts';

const gibibyte = 2 ** 30;
const machine = { milliCpus: 4000, memoryBytes: 8 * gibibyte, diskBytes: 100 * gibibyte };

test('pods have what is neither reserved nor held back from eviction', () => {
  const thresholds = { 'memory.available': '1Gi', 'nodefs.available': '10%' };
  const { capacity, allocatable, pods } = roomOf(machine, {
    thresholds,
    maxPods: 20,
    systemReserved: { cpu: '250m', memory: '512Mi', 'ephemeral-storage': '5Gi' },
  });
  assert.equal(capacity, machine);
  assert.deepEqual(resourcesOf(allocatable, pods), {
    cpu: '3750m',
    memory: `${6.5 * 1024 * 1024}Ki`,
    pods: '20',
    'ephemeral-storage': `${85 * 1024 * 1024}Ki`,
  });
  assert.deepEqual(roomOf(machine, { systemReserved: { cpu: '9' } }).allocatable.milliCpus, 0);
});

test('a soft threshold counts when it was crossed for its grace without a break', () => {
  const since = new CrossedSince();
  const memory = { signal: 'memory.available', threshold: 2, available: 1 } as const;
  const at = (now: number, crossed = true): number =>
    since.lasting(crossed ? [memory] : [], { 'memory.available': 100 }, now).length;
  assert.deepEqual([at(0), at(99), at(100), at(150)], [0, 0, 1, 1]);
  assert.deepEqual([at(160, false), at(170), at(269), at(270)], [0, 0, 0, 1]);
});
