import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lull } from './lull.ts';

test('work waits for what is under way, and a moment longer, but not for ever', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  const pass = (milliseconds: number): void => {
    now += milliseconds;
    context.mock.timers.tick(milliseconds);
  };
  let done = 0;
  const lull = new Lull(() => {
    done += 1;
  });
  lull.want();
  pass(249);
  assert.equal(done, 0);
  pass(1);
  assert.equal(done, 1);
  const first = lull.begin();
  lull.want();
  pass(1000);
  const second = lull.begin();
  first[Symbol.dispose]();
  assert.equal(lull.isDisturbed, true);
  pass(400);
  second[Symbol.dispose]();
  assert.equal(lull.isDisturbed, false);
  pass(249);
  assert.equal(done, 1);
  pass(1);
  assert.equal(done, 2);
  using _forever = lull.begin();
  lull.want();
  pass(1999);
  assert.equal(done, 2);
  pass(1);
  assert.equal(done, 3);
  lull.want();
  lull.close();
  pass(10_000);
  assert.equal(done, 3);
});
