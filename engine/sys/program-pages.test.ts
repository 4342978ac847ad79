import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { releaseProgramPages } from './program-pages.ts';

/** KiB of the program's file that are in this process's memory. */
function resident(): number {
  const mappings = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const own = mappings.filter((text) => text.split('\n', 1)[0]?.endsWith(` ${process.execPath}`));
  return own.reduce((sum, text) => sum + Number(/^Rss: +(\d+)/m.exec(text)?.[1]), 0);
}

test('pages of the program go, and come back as they were when they are needed', () => {
  const text = 'what is packed and unpacked '.repeat(100);
  const work = (): string =>
    createHash('sha256')
      .update(gunzipSync(gzipSync(text)))
      .digest('hex');
  const [before, told] = [resident(), work()];
  releaseProgramPages();
  const after = resident();
  assert.ok(after < before / 2, `${before} KiB before, ${after} after`);
  assert.equal(work(), told);
});
