import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');

test('every long test has its line, with what it said when it was last run, and every line its test', () => {
  const page = readFileSync(join(root, 'docs/reference/long-tests.md'), 'utf8');
  const lines = page.matchAll(/^\| `([^`]+)` \| [^|]+ \| 20\d\d-\d\d-\d\d[:,] [^|]+ \|$/gm);
  const named = Array.from(lines, ([, name]) => name);
  const exclude = (name: string): boolean => name === 'node_modules' || name.startsWith('.');
  const tests = globSync('**/*.long.test.ts', { cwd: root, exclude });
  assert.deepEqual(named.toSorted(), tests.map((path) => path.replace('.long.test.ts', '')).toSorted());
});
