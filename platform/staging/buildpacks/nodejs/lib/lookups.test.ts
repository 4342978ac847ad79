import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { recallNode, rememberNode } from './lookups.ts';

const layers = mkdtempSync(join(tmpdir(), 'lookups-'));
after(() => rmSync(layers, { recursive: true }));

test('a version is kept for an hour, for the range that was asked', () => {
  assert.equal(recallNode(layers, '>=22'), undefined);
  rememberNode(layers, '>=22', '26.1.0', 1000);
  assert.equal(recallNode(layers, '>=22', 1001), '26.1.0');
  assert.equal(recallNode(layers, '>=24', 1001), undefined);
  assert.equal(recallNode(layers, '', 1001), undefined);
  assert.equal(recallNode(layers, '>=22', 1000 + 3_600_000), undefined);
  assert.equal(recallNode(layers, '>=22', 999), undefined, 'a clock that was set back');
});
