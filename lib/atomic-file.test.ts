import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeFileAtomic } from './atomic-file.ts';
import { digestOf, isDigest, parseDigest } from './digest.ts';

test('a file is replaced whole, with its mode, and nothing is left beside it', async (context) => {
  const directory = await mkdtemp(join(tmpdir(), 'atomic-'));
  context.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'file');
  await writeFileAtomic(path, 'one', { mode: 0o600 });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await Promise.all(['two', 'three'].map((text) => writeFileAtomic(path, text)));
  assert.match(await readFile(path, 'utf8'), /^(two|three)$/);
  assert.deepEqual(await readdir(directory), ['file']);
  await assert.rejects(writeFileAtomic(join(directory, 'none/file'), 'x'), { code: 'ENOENT' });
});

test('digests', () => {
  const digest = digestOf('');
  assert.equal(digest, 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  assert.deepEqual(parseDigest(digest), { algorithm: 'sha256', hex: digest.slice(7) });
  assert.ok(isDigest(digestOf('', 'sha512')));
  for (const wrong of [
    '',
    'sha256',
    'sha256:',
    digest.toUpperCase(),
    `${digest}0`,
    'md5:0',
    `toString:${'0'.repeat(64)}`,
    digest.replace(':', '/'),
  ]) {
    assert.equal(parseDigest(wrong), undefined, wrong);
  }
});
