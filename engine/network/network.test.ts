import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const suite = fileURLToPath(new URL('../../testing/network-suite.ts', import.meta.url));

test('the network, in a namespace of its own', () => {
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const flags = ['--experimental-ffi', '--disable-warning=ExperimentalWarning', '--test-reporter=tap'];
  const { status, stdout } = spawnSync('unshare', ['--net', '--', process.execPath, ...flags, suite], {
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /# pass 10/);
});
