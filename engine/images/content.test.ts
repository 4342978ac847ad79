import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { digestOf } from '#lib/digest.ts';
import { contentContract } from '#testing/content-contract.ts';
import { openContentStore } from './content.ts';

contentContract('file system', openContentStore);

test('kill -9 of a writer loses nothing that was acknowledged and leaves nothing half made', async (context) => {
  const directory = await mkdtemp(join(tmpdir(), 'content-'));
  context.after(() => rm(directory, { recursive: true }));
  const acknowledged: string[] = [];
  for (let round = 1; round <= 4; round += 1) {
    const writer = spawn(process.execPath, [join(import.meta.dirname, 'testdata/writer.ts'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(writer, 'close');
    for await (const line of createInterface(writer.stdout)) {
      acknowledged.push(line);
      if (acknowledged.length % (7 * round) === 0) writer.kill('SIGKILL');
    }
    await ended;
    const content = openContentStore(directory);
    const last = acknowledged.at(-1) ?? '';
    for (const digest of acknowledged) assert.equal(digestOf(await content.readAll(digest)), digest);
    assert.ok(content.getName('app', 'latest'));
    assert.ok(content.path(content.getName('app', 'latest') ?? ''), `${last}: a name that leads nowhere`);
    for (const { name } of content.names('app')) assert.match(name, /^(latest|v[0-4])$/);
    for (const scope of await readdir(join(directory, 'names'))) {
      for (const file of await readdir(join(directory, 'names', scope))) assert.doesNotMatch(file, /^\.aside/);
    }
  }
});

test('open removes what a killed writer left, and uploads older than a day', async (context) => {
  const directory = await mkdtemp(join(tmpdir(), 'content-'));
  context.after(() => rm(directory, { recursive: true }));
  const first = openContentStore(directory);
  const fresh = await first.startUpload();
  const stale = await first.startUpload();
  const longAgo = Date.now() / 1000 - 2 * 24 * 3600;
  await utimes(join(directory, 'uploads', stale), longAgo, longAgo);
  await mkdir(join(directory, 'layers/.aside-1/fs'), { recursive: true });
  await first.setName('app', 'x', digestOf(''));
  await writeFile(join(directory, 'names/app/.aside-1-x'), 'half');
  const again = openContentStore(directory);
  assert.deepEqual(await readdir(join(directory, 'uploads')), [fresh]);
  assert.deepEqual(await readdir(join(directory, 'layers')), []);
  assert.deepEqual(await readdir(join(directory, 'names/app')), ['x']);
  assert.deepEqual(again.names('app'), [{ name: 'x', digest: digestOf('') }]);
});
