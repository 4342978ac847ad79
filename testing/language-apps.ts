/** Apps for the tests of languages: the examples, and what a build says of an app that it cannot make. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StagingBed } from './staging-bed.ts';

const EXAMPLES = join(import.meta.dirname, '..', 'examples');

export function example(name: string): Record<string, string> {
  const files = Object.entries(filesBelow(join(EXAMPLES, name)));
  return Object.fromEntries(files.map(([path, content]) => [path, content.toString('utf8')]));
}

export function filesBelow(directory: string): Record<string, Buffer> {
  const files: Record<string, Buffer> = {};
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[path.slice(directory.length + 1)] = readFileSync(path);
  }
  return files;
}

/** An error of the build whose words match, without a stack trace. */
export async function refuses(
  bed: StagingBed,
  app: string,
  files: Record<string, string>,
  words: RegExp,
): Promise<void> {
  await assert.rejects(bed.stage(app, files), (error: Error & { status?: number }) => {
    assert.equal(error.status, 51, error.message);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /\n\s+at /);
    return true;
  });
}
