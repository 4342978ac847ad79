import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Compares text with a file beside the test. `SAMPAN_UPDATE_GOLDEN=1` writes the file instead: read the change before it is kept. */
export function matchesGolden(path: string, text: string): void {
  if (process.env.SAMPAN_UPDATE_GOLDEN) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return;
  }
  assert.equal(text, readFileSync(path, 'utf8'), `${path} differs; SAMPAN_UPDATE_GOLDEN=1 writes it anew`);
}
