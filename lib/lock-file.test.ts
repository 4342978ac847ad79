import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
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

test('who finds a holder dead later than another does not take the lock that the other has by then', async () => {
  const file = path();
  writeFileSync(file, '4194304\n');
  const slow = spawn(process.execPath, [join(import.meta.dirname, 'lock-file.fixture.ts'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = createInterface({ input: slow.stdout })[Symbol.asyncIterator]();
  assert.equal((await said.next()).value, 'has read who holds it');
  const release = await lockFile(file, 30_000);
  const ours = readFileSync(file, 'utf8');
  writeFileSync(`${file}.go`, '');
  assert.equal((await said.next()).value, `held by ${process.pid}`);
  assert.equal(readFileSync(file, 'utf8'), ours);
  release();
  if (slow.exitCode === null) await once(slow, 'exit');
});

test('one that died while it took over from a dead one is no obstacle, and leaves nothing', async () => {
  const file = path();
  writeFileSync(file, '4194304 17\n');
  writeFileSync(`${file}.4194304-17`, '4194305 18\n');
  const release = await lockFile(file, 30_000);
  release();
  assert.deepEqual(readdirSync(dirname(file)), []);
});

test('a lock without a holder, as a loss of power leaves one, is taken over', async () => {
  const file = path();
  writeFileSync(file, '');
  const release = await lockFile(file, 30_000);
  release();
  assert.deepEqual(readdirSync(dirname(file)), []);
});

test('a lock that is held is an error that names the holder', async () => {
  const file = path();
  writeFileSync(file, `${process.ppid}\n`);
  await assert.rejects(lockFile(file, 100), (error) => error instanceof LockTimeout && error.holder === process.ppid);
});
