import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OrderedGuids } from './ordered-guids.ts';

test('each is after the one before: in one millisecond, after the clock went back, and after a restart', () => {
  const guids = new OrderedGuids();
  const made: string[] = [];
  for (let count = 0; count < 5_000; count += 1) made.push(guids.next(1_700_000_000_000));
  made.push(guids.next(1_600_000_000_000), guids.next(1_700_000_000_900));
  const later = new OrderedGuids(made.at(-1));
  made.push(later.next(1_500_000_000_000), later.next(1_700_000_001_000));
  assert.deepEqual(made.toSorted(), made);
  assert.equal(new Set(made).size, made.length);
  for (const guid of made) assert.match(guid, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.match(new OrderedGuids('no guid').next(), /-7000-/);
});
