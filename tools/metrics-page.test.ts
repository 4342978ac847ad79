import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { metricsPage } from './metrics-page.ts';

test('the page of metrics says what there is', () => {
  const path = join(import.meta.dirname, '..', 'docs', 'reference', 'metrics.md');
  assert.equal(readFileSync(path, 'utf8'), metricsPage(), 'write it anew: node tools/metrics-page.ts');
});
