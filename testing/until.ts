/** Asks again and again until a condition holds; for what no event tells. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';

export async function until(condition: () => Promise<boolean>, seconds = 20): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; !(await condition()); await setImmediate())
    assert.ok(Date.now() < deadline, `within ${seconds} seconds: ${condition.toString()}`);
}
