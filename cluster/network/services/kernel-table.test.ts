import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const suite = fileURLToPath(new URL('../../../testing/services-suite.ts', import.meta.url));

test('the table in the kernel, in a network namespace of its own', () => {
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { status, stdout } = spawnSync('unshare', ['--net', '--', process.execPath, '--test-reporter=tap', suite], {
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /# pass 4/);
});
