import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { recallVersion, rememberVersion } from './lookups.ts';

const layers = mkdtempSync(join(tmpdir(), 'lookups-'));
after(() => rmSync(layers, { recursive: true }));

test('a version is kept for an hour, for the range that was asked', () => {
  assert.equal(recallVersion(layers, 'node', '>=22'), undefined);
  rememberVersion(layers, 'node', { question: '>=22', version: '26.1.0' }, 1000);
  rememberVersion(layers, 'go', { question: '', version: '1.27.4' }, 1000);
  assert.equal(recallVersion(layers, 'node', '>=22', 1001), '26.1.0');
  assert.equal(recallVersion(layers, 'node', '>=24', 1001), undefined);
  assert.equal(recallVersion(layers, 'node', '', 1001), undefined);
  assert.equal(recallVersion(layers, 'go', '', 1001), '1.27.4');
  assert.equal(recallVersion(layers, 'node', '>=22', 1000 + 3_600_000), undefined);
  assert.equal(recallVersion(layers, 'node', '>=22', 999), undefined, 'a clock that was set back');
});
