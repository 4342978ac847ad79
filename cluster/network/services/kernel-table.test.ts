import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** In a network namespace of their own: what flushes all rules, or leads addresses anywhere, would harm others. */
function passes(suite: URL, tests: number): void {
  const path = fileURLToPath(suite);
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { status, stdout } = spawnSync('unshare', ['--net', '--', process.execPath, '--test-reporter=tap', path], {
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, new RegExp(`# pass ${tests}`));
}

test('the table in the kernel', () => passes(new URL('../../../testing/services-suite.ts', import.meta.url), 4));
test('what keeps it is killed again and again', () =>
  passes(new URL('../../../testing/services-churn-suite.ts', import.meta.url), 1));
