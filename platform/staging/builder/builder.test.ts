import { test } from 'node:test';
import assert from 'node:assert/strict';
import { startTestRegistry } from '#testing/staging-registry.ts';
import { ensureBuilder } from './builder.ts';
test('x', async () => {
  await using r = await startTestRegistry();
  let t = Date.now();
  const b = await ensureBuilder({ registry: r.client, temporaryDirectory: r.directory, npm: {}, onProgress: (m) => console.log(Date.now()-t, m) });
  console.log(Date.now() - t, JSON.stringify(b, null, 1));
  t = Date.now();
  assert.deepEqual(await ensureBuilder({ registry: r.client, temporaryDirectory: r.directory, npm: {} }), b);
  console.log(Date.now() - t);
});
