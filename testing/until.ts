/** Asks again and again until a condition holds; for what no event tells. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

/** A breath, which leaves the processor to what is waited for. */
const BETWEEN = 5;

export async function until(condition: () => Promise<boolean>, seconds = 60): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; !(await condition()); await delay(BETWEEN))
    assert.ok(Date.now() < deadline, `within ${seconds} seconds: ${condition.toString()}`);
}
