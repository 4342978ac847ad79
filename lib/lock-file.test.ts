import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LockTimeout, lockFile } from './lock-file.ts';

const base = mkdtempSync(join(tmpdir(), 'lock-'));
after(() => rmSync(base, { recursive: true }));

const path = (): string => join(mkdtempSync(join(base, 'a-')), 'lock');

test('one at a time, in some order', async () => {
  const file = path();
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 5 }, async () => {
      const release = await lockFile(file, 10_000);
      most = Math.max(most, ++inside);
      await new Promise((done) => setImmediate(done));
      inside--;
      release();
    }),
  );
  assert.equal(most, 1);
  assert.equal(existsSync(file), false);
});

test('a lock whose holder has died is taken over', async () => {
  const file = path();
  writeFileSync(file, '4194304\n'); // beyond the greatest process id
  const release = await lockFile(file, 1000);
  release();
});

test('a lock whose holder has died is taken over, also where another process has its number now', async () => {
  const file = path();
  writeFileSync(file, `${process.ppid} 1\n`);
  const release = await lockFile(file, 1000);
  release();
});

test('a lock that is held is an error that names the holder', async () => {
  const file = path();
  writeFileSync(file, `${process.ppid}\n`);
  await assert.rejects(lockFile(file, 100), (error) => error instanceof LockTimeout && error.holder === process.ppid);
});
