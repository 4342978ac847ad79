import { test } from 'node:test';
import { killLoop } from '#testing/registry-chaos.ts';

test('a registry that is killed again and again loses nothing that it acknowledged, and leaves nothing', {
  timeout: 120_000,
}, async () => {
  await killLoop(8);
});
