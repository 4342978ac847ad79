import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns, TurnsByKey } from './turns.ts';

test('work is done one after the other, whatever became of the one before', async () => {
  const turns = new Turns();
  const seen: string[] = [];
  const first = Promise.withResolvers<void>();
  const one = turns.take(async () => {
    seen.push('one begins');
    await first.promise;
    seen.push('one ends');
    throw new Error('one failed');
  });
  const two = turns.take(async () => {
    seen.push('two');
    return 2;
  });
  first.resolve();
  await assert.rejects(one, /one failed/);
  assert.equal(await two, 2);
  assert.deepEqual(seen, ['one begins', 'one ends', 'two']);
});

test('each key has turns of its own', async () => {
  const turns = new TurnsByKey();
  const seen: string[] = [];
  const held = Promise.withResolvers<void>();
  const slow = turns.take('a', async () => {
    await held.promise;
    seen.push('a');
  });
  const next = turns.take('a', async () => void seen.push('a again'));
  await turns.take('b', async () => void seen.push('b'));
  held.resolve();
  await turns.settled();
  await Promise.all([slow, next]);
  await turns.settled('a');
  assert.deepEqual(seen, ['b', 'a', 'a again']);
});
