import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startTestRegistry } from '#testing/staging-registry.ts';
import { readSingleLayer } from '../images/single-layer.ts';
import { STACK_REPOSITORY } from '../stack/stack.ts';
import { ensureBuilder, type Builder } from './builder.ts';

test('the builder is made once, and two from the same packages are the same', async () => {
  const made: Builder[] = [];
  const packages: (string | undefined)[] = [];
  for (const _ of [1, 2]) {
    await using registry = await startTestRegistry();
    const options = { registry: registry.client, temporaryDirectory: registry.directory, npm: {} };
    const steps: string[] = [];
    const builder = await ensureBuilder({ ...options, onProgress: (step) => steps.push(step) });
    assert.equal(steps.length, 3);
    assert.deepEqual(await ensureBuilder({ ...options, onProgress: (step) => assert.fail(step) }), builder);
    const [tag = ''] = await registry.client.tags(STACK_REPOSITORY);
    const stack = await readSingleLayer(registry.client, STACK_REPOSITORY, tag);
    assert.equal(stack?.layer.digest, builder.stack.digest);
    packages.push(stack.labels['dev.sampan.stack.packages']);
    made.push(builder);
  }
  // A mirror that was updated between the two runs gives other packages, which is no fault.
  if (packages[0] === packages[1]) assert.deepEqual(made[0], made[1]);
  const versions = JSON.parse(packages[0] ?? '{}') as Record<string, string>;
  for (const name of ['bash', 'libc6', 'libatomic1', 'ca-certificates', 'tzdata']) assert.ok(versions[name], name);
  assert.equal(versions['dpkg'], undefined);
});
