import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cache } from './cache.ts';

test('what is over goes, and what was asked for longest ago makes room', () => {
  let now = 0;
  const cache = new Cache<number>({ entries: 3, bytes: 100, now: () => now });
  for (const [index, key] of ['a', 'b', 'c'].entries()) cache.set(key, index, { seconds: 10, bytes: 10 });
  assert.equal(cache.get('a'), 0);
  cache.set('d', 3, { seconds: 10, bytes: 10 });
  assert.equal(cache.get('b'), undefined);
  cache.set('large', 4, { seconds: 10, bytes: 85 });
  assert.deepEqual([cache.get('c'), cache.get('a'), cache.get('d'), cache.get('large')], [undefined, undefined, 3, 4]);
  cache.set('too large', 5, { seconds: 10, bytes: 101 });
  assert.equal(cache.size, 0);
  cache.set('a', 6, { seconds: 10, bytes: 10 });
  now = 10_000;
  assert.equal(cache.get('a'), undefined);
});
