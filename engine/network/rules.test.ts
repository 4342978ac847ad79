import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderTable } from './rules.ts';

const golden = fileURLToPath(new URL('testdata/table.nft', import.meta.url));
const options = {
  instance: 'golden',
  podCidr: '10.86.3.0/24',
  clusterCidr: '10.86.0.0/16',
  serviceCidr: '10.87.0.0/16',
};

test('the table is what the golden file shows', () => {
  const table = renderTable(options, ['10.86.3.9', '10.86.3.4']);
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, table);
  assert.equal(table, readFileSync(golden, 'utf8'));
});

test('nft accepts the table', () => {
  const check = spawnSync('nft', ['--check', '-f', '-'], { input: renderTable(options, []), encoding: 'utf8' });
  assert.equal(check.stderr, '');
  assert.equal(check.status, 0);
});
