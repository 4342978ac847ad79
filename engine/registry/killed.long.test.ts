import { test } from 'node:test';
import { killLoop } from '#testing/registry-chaos.ts';

test('200 kills in a row', { timeout: 1_800_000 }, async () => {
  await killLoop(200);
});
