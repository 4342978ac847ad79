import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { listFiles, readSource, sha1 } from './files.ts';

const base = mkdtempSync(join(tmpdir(), 'sampan-files-'));
after(() => rmSync(base, { recursive: true }));

function tree(): string {
  const root = mkdtempSync(join(base, 'a-'));
  mkdirSync(join(root, 'lib/deep'), { recursive: true });
  mkdirSync(join(root, '.git'));
  writeFileSync(join(root, '.git/HEAD'), 'x');
  writeFileSync(join(root, 'manifest.yml'), 'x');
  writeFileSync(join(root, 'server.js'), 'hello');
  writeFileSync(join(root, 'lib/deep/secret.key'), 'x');
  writeFileSync(join(root, 'lib/kept.txt'), 'x');
  writeFileSync(join(root, 'run'), '#!/bin/sh\n');
  chmodSync(join(root, 'run'), 0o755);
  symlinkSync('server.js', join(root, 'link.js'));
  return root;
}

test('files are listed in order, with mode and size; links as links; version control is left out', () => {
  const files = listFiles(tree());
  assert.deepEqual(
    files.map((file) => file.path),
    ['lib/deep/secret.key', 'lib/kept.txt', 'link.js', 'run', 'server.js'],
  );
  assert.equal(files.find((file) => file.path === 'run')?.mode, 0o755);
  assert.equal(files.find((file) => file.path === 'link.js')?.link, 'server.js');
  assert.equal(files.find((file) => file.path === 'server.js')?.sizeBytes, 5);
});

test('.cfignore leaves out what it names', () => {
  const root = tree();
  writeFileSync(join(root, '.cfignore'), '*.key\n/run\n');
  assert.deepEqual(
    listFiles(root).map((file) => file.path),
    ['lib/kept.txt', 'link.js', 'server.js'],
  );
});

test('nothing to push is an error that names the place', () => {
  const root = mkdtempSync(join(base, 'a-'));
  assert.throws(() => listFiles(root), /holds no file to push/);
  assert.throws(() => readSource(join(root, 'nowhere')), /There is no app at/);
});

test('a zip, whatever its name ends in, is sent as it is, and another file is none', () => {
  const root = mkdtempSync(join(base, 'a-'));
  const [jar, text] = [join(root, 'shop.jar'), join(root, 'notes')];
  writeFileSync(jar, 'PK\u0005\u0006 and so on');
  writeFileSync(text, 'P');
  assert.deepEqual(readSource(jar), { archive: jar, sizeBytes: 14 });
  assert.throws(() => readSource(text), /notes is neither a directory nor a zip/);
});

test('a file is told by its sha1', async () => {
  const file = listFiles(tree()).find((each) => each.path === 'server.js');
  assert.ok(file);
  assert.equal(await sha1(file), 'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d');
});

test('what is deleted while it is looked at is left out', () => {
  // Among the open files of this process is the directory itself while it is read, and no more when its link is.
  assert.ok(listFiles('/proc/self/fd').every(({ link }) => link !== undefined));
});
