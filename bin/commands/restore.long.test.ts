/** A restore that is killed at any moment leaves the instance as it was, or as the backup has it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { it } from 'node:test';
import { sqliteSnapshot } from '#cluster/store/sqlite/snapshot.ts';
import type { SnapshotPage } from '#cluster/store/store.ts';
import { finish, TestPlatform } from '#testing/platform.ts';
import { writeArchive } from '../backup/archive.ts';
import { finishRestore } from '../backup/finish.ts';

const ROUNDS = 40;
const KEYS = 4000;

async function makeBackup(path: string, name: string, mark: string): Promise<void> {
  const files = Object.entries({
    'instance.json': JSON.stringify({ name, id: 'the-same', domain: `${mark}.example` }),
    'admin-password': mark,
    'pki/ca.key': mark,
    [`pki/${mark}.key`]: mark,
    'cluster/encryption-keys.json': mark,
  }).map(([file, text]) => ({ path: file, mode: 0o600, content: Buffer.from(text) }));
  const pages = (async function* (): AsyncGenerator<SnapshotPage> {
    for (let index = 0; index < KEYS; index++) {
      const key = `/registry/${String(index).padStart(6, '0')}`;
      yield { revision: 9, entries: [{ key, value: Buffer.from(mark.repeat(200)), revision: 9, createRevision: 9 }] };
    }
  })();
  const manifest = { version: 'test', instance: name, createdAt: 'now', revision: 9 };
  writeFileSync(path, Buffer.concat(await Array.fromAsync(writeArchive({ manifest, files, pages }))), { mode: 0o600 });
}

/** Which backup's everything is. */
async function markOf(data: string): Promise<string> {
  finishRestore(data);
  const mark = readFileSync(join(data, 'admin-password'), 'utf8');
  for (const file of ['pki/ca.key', `pki/${mark}.key`, 'cluster/encryption-keys.json'])
    assert.equal(readFileSync(join(data, file), 'utf8'), mark, file);
  assert.match(readFileSync(join(data, 'instance.json'), 'utf8'), new RegExp(`"${mark}.example"`));
  let keys = 0;
  for await (const { entries } of sqliteSnapshot(join(data, 'cluster', 'store.db')))
    for (const { value } of entries) {
      assert.equal(Buffer.from(value).toString('utf8', 0, mark.length), mark);
      keys++;
    }
  assert.equal(keys, KEYS);
  return mark;
}

it(`${ROUNDS} restores that are killed`, async () => {
  const platform = new TestPlatform('killed-restore');
  const backups = { one: join(platform.directory, 'one'), two: join(platform.directory, 'two') };
  try {
    await makeBackup(backups.one, platform.name, 'one');
    await makeBackup(backups.two, platform.name, 'two');
    const begun = performance.now();
    await platform.must('restore', backups.one);
    const whole = performance.now() - begun;
    let current = await markOf(platform.dataDirectory);
    assert.equal(current, 'one');
    const outcomes = { before: 0, after: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const wanted = current === 'one' ? 'two' : 'one';
      const [program = '', ...words] = platform.command('restore', backups[wanted]);
      const child = spawn(program, words, { env: platform.environment, stdio: 'ignore' });
      const exit = once(child, 'exit');
      await Promise.race([delay((whole * (round + 1)) / (ROUNDS - 5)), exit]);
      child.kill('SIGKILL');
      await exit;
      const now = await markOf(platform.dataDirectory);
      outcomes[now === current ? 'before' : 'after']++;
      current = now;
    }
    assert.ok(outcomes.before > 0 && outcomes.after > 0, JSON.stringify(outcomes));
    assert.equal((await finish('find', [platform.dataDirectory, '-name', '.restore'])).stdout, '');
  } finally {
    await finish('rm', ['-rf', platform.directory]);
  }
});
