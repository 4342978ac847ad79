import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodStatus } from '../kinds/types/core.ts';
import { changesOf, same } from './status-writer.ts';

const status: PodStatus = {
  phase: 'Running',
  podIP: '10.0.0.1',
  podIPs: [{ ip: '10.0.0.1' }],
  conditions: [
    { type: 'Ready', status: 'False', reason: 'ContainersNotReady', message: 'x', lastTransitionTime: 't' },
    { type: 'example.com/gate', status: 'True' },
  ],
};

test('nothing is written where nothing changed, whatever the order of members', () => {
  assert.equal(changesOf(status, structuredClone(status)), undefined);
  assert.equal(same({ a: 1, b: undefined }, { a: 1 }), true);
  assert.equal(same({ b: [1, { c: 2 }], a: 1 }, { a: 1, b: [1, { c: 2 }] }), true);
  assert.equal(same([1], { 0: 1 }), false);
});

test('only what changed is written; conditions of others are not touched', () => {
  const wanted: PodStatus = { ...status, conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 'u' }] };
  assert.deepEqual(changesOf(status, wanted), {
    conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 'u', reason: null, message: null }],
  });
});

test('a new address replaces the old one', () => {
  assert.deepEqual(changesOf(status, { ...status, podIP: '10.0.0.2', podIPs: [{ ip: '10.0.0.2' }] }), {
    podIP: '10.0.0.2',
    podIPs: [{ $patch: 'replace' }, { ip: '10.0.0.2' }],
  });
});
