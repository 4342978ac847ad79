import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { timerOf } from './longest-timer.ts';

test('a timer of any length is one that Node holds', async () => {
  assert.deepEqual([timerOf(-5), timerOf(0.2), timerOf(1500)], [0, 1, 1500]);
  const warnings: string[] = [];
  const heard = ({ name }: Error) => warnings.push(name);
  process.on('warning', heard);
  for (const length of [2 ** 31, 1e15, Number.POSITIVE_INFINITY]) {
    clearTimeout(setTimeout(() => assert.fail(), timerOf(length)));
    AbortSignal.timeout(timerOf(length));
  }
  await setImmediate();
  process.off('warning', heard);
  assert.deepEqual(warnings, []);
});
