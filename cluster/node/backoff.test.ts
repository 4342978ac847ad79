import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BackoffPolicy, nextRestart } from './backoff.ts';

function delays(policy: BackoffPolicy, count: number): number[] {
  const seen: number[] = [];
  let crashes = 0;
  for (let index = 0; index < count; index++) {
    const restart = nextRestart(policy, { crashes, startedAt: 0, endedAt: 1000 });
    assert.equal(restart.at, 1000 + restart.delay);
    seen.push(restart.delay / 1000);
    crashes = restart.crashes;
  }
  return seen;
}

test('kubernetes: the first restart is immediate, then 10 s doubling to 5 min', () => {
  assert.deepEqual(delays('kubernetes', 8), [0, 10, 20, 40, 80, 160, 300, 300]);
});

test('cloudfoundry: three restarts at once, then 30 s doubling to 16 min', () => {
  assert.deepEqual(delays('cloudfoundry', 10), [0, 0, 0, 30, 60, 120, 240, 480, 960, 960]);
});

test('a long run forgets the crashes before it', () => {
  const restart = nextRestart('kubernetes', { crashes: 5, startedAt: 0, endedAt: 600_000 });
  assert.deepEqual(restart, { at: 600_000, delay: 0, crashes: 1 });
  assert.equal(nextRestart('kubernetes', { crashes: 5, startedAt: 0, endedAt: 599_999 }).delay, 160_000);
  assert.equal(nextRestart('kubernetes', { crashes: 2, startedAt: undefined, endedAt: 9e9 }).delay, 20_000);
});
