import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podObject } from '#testing/agent-pod.ts';
import type { PodSpec } from '../kinds/types/core.ts';
import { type Candidate, evictionMessage, rank } from './eviction-rank.ts';
import { crossed, type NodeObservations, observe, PressureConditions } from './pressure.ts';

const mebibyte = 2 ** 20;
const roomy: NodeObservations = {
  'memory.available': { available: 900 * mebibyte, capacity: 1000 * mebibyte },
  'nodefs.available': { available: 500, capacity: 1000 },
  'nodefs.inodesFree': { available: 0, capacity: 0 },
  'pid.available': { available: 30_000, capacity: 32_768 },
};

function candidate(name: string, memory: number, more: Partial<PodSpec> = {}, request?: string): Candidate {
  const resources = request === undefined ? {} : { requests: { memory: request } };
  const usage = { memoryBytes: memory * mebibyte, diskBytes: 0, processes: 1 };
  return {
    pod: podObject(name, { ...more, containers: [{ resources }] }),
    usage,
    containers: [{ name: 'main', usage }],
  };
}

const names = (candidates: readonly Candidate[]): (string | undefined)[] =>
  candidates.map(({ pod }) => pod.metadata.name);

test('thresholds are quantities or parts of the whole; a file system without inodes lacks none', () => {
  const thresholds = { 'memory.available': '100Mi', 'nodefs.available': '10%', 'nodefs.inodesFree': '5%' } as const;
  assert.deepEqual(crossed(roomy, thresholds), []);
  const tight = {
    ...roomy,
    'memory.available': { available: 99 * mebibyte, capacity: 1000 * mebibyte },
    'nodefs.available': { available: 99, capacity: 1000 },
  };
  assert.deepEqual(crossed(tight, thresholds), [
    { signal: 'memory.available', threshold: 100 * mebibyte, available: 99 * mebibyte },
    { signal: 'nodefs.available', threshold: 100, available: 99 },
  ]);
  assert.throws(() => crossed(roomy, { 'memory.available': 'much' }), /quantity "much"/);
});

test('this host can be observed', async () => {
  for (const [signal, { available, capacity }] of Object.entries(await observe('/')))
    assert.ok(
      available <= capacity && (capacity > 0 || signal === 'nodefs.inodesFree'),
      `${signal} ${available} of ${capacity}`,
    );
});

test('a condition outlasts its cause for a while, and each change is told once', () => {
  const conditions = new PressureConditions(1000);
  const memory = [{ signal: 'memory.available', threshold: 1, available: 0 }] as const;
  assert.equal(conditions.update([], 0), false);
  assert.equal(conditions.update(memory, 100), true);
  assert.equal(conditions.update(memory, 200), false);
  assert.deepEqual(conditions.current(1199), ['MemoryPressure']);
  assert.equal(conditions.update([], 1199), false);
  assert.equal(conditions.update([], 1200), true);
  assert.deepEqual(conditions.current(1200), []);
});

test('who uses more than requested goes first, then less priority, then the largest excess', () => {
  const pods = [
    candidate('modest', 10, {}, '64Mi'),
    candidate('large', 300),
    candidate('larger', 400),
    candidate('important', 900, { priority: 1000 }),
    candidate('system', 5000, { priority: 2_000_000_000 }),
  ];
  assert.deepEqual(names(rank(pods, 'memory.available')), ['larger', 'large', 'important', 'modest']);
  // Nobody requests processes: only the priority and their number count.
  assert.equal(names(rank(pods, 'pid.available')).at(-1), 'important');
});

test('the message says what was lacking and who used how much, in upstream’s words', () => {
  const threshold = { signal: 'memory.available', threshold: 100 * mebibyte, available: 50 * mebibyte } as const;
  assert.equal(
    evictionMessage(candidate('a', 200, {}, '64Mi'), threshold),
    'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ' +
      'Container main was using 200Mi, request is 64Mi, has larger consumption of memory. ',
  );
});
