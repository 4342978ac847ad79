import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { nodeFlags } from '../supervise.ts';

const MEBIBYTE = 1024 * 1024;

test('what a start has left is given back, and its compiled code is written down', () => {
  const cache = mkdtempSync(join(tmpdir(), 'settle-'));
  try {
    const fixture = join(import.meta.dirname, 'settle.fixture.ts');
    const { stdout, stderr } = spawnSync(process.execPath, [...nodeFlags, fixture], {
      env: { ...process.env, NODE_COMPILE_CACHE: cache, NODE_TEST_CONTEXT: undefined },
      encoding: 'utf8',
    });
    assert.equal(stderr, '');
    const { before, after, written } = JSON.parse(stdout) as {
      before: NodeJS.MemoryUsage;
      after: NodeJS.MemoryUsage;
      written: number;
    };
    assert.ok(before.rss - after.rss > 30 * MEBIBYTE, `resident: ${before.rss} bytes before, ${after.rss} after`);
    assert.ok(after.heapTotal < before.heapTotal, `heap: ${before.heapTotal} bytes before, ${after.heapTotal} after`);
    assert.ok(written > 2, 'nothing was written to the cache of compiled code');
  } finally {
    rmSync(cache, { recursive: true });
  }
});
