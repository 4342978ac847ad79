import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coalesced } from './coalesced.ts';

test('callers during a run share the next one, which begins after their call', async () => {
  const runs: PromiseWithResolvers<void>[] = [];
  const sync = coalesced(() => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    return run.promise;
  });
  const first = sync();
  const second = sync();
  const third = sync();
  assert.equal(second, third);
  assert.equal(runs.length, 1);
  runs[0]?.reject(new Error('the first failed'));
  await assert.rejects(first, /the first failed/);
  const fourth = sync();
  assert.equal(runs.length, 2);
  runs[1]?.resolve();
  await second;
  assert.equal(runs.length, 3);
  runs[2]?.resolve();
  await fourth;
  const fifth = sync();
  assert.equal(runs.length, 4);
  runs[3]?.resolve();
  await fifth;
});
