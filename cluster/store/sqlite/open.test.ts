import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { storeContract } from '#testing/store-contract.ts';
import { StoreError, type StoreErrorCode } from '../store.ts';
import { createHistoryPolicy } from '../history-policy.ts';
import { copyIntoSqlite } from './copy-in.ts';
import { databaseFiles } from './made.ts';
import { openSqliteStore } from './open.ts';

storeContract({
  name: 'sqlite',
  open: (directory) => openSqliteStore({ path: join(directory, 'store.db') }),
  copyInto: (directory, pages, after) => copyIntoSqlite(join(directory, 'store.db'), pages, after),
  program: new URL('./killed-clients.fixture.ts', import.meta.url),
});

const hasCode =
  (code: StoreErrorCode, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

describe('sqlite store', () => {
  const inDirectory = (name: string, body: (directory: string) => Promise<void>): void => {
    it(name, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'sampan-sqlite-'));
      try {
        await body(directory);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    });
  };

  inDirectory(
    'refuses a write that finds the disk full, loses nothing, and goes on when there is room',
    async (directory) => {
      const mount = join(directory, 'small');
      await mkdir(mount);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', mount]);
      try {
        const store = await openSqliteStore({ path: join(mount, 'store.db') });
        const filler = join(mount, 'filler');
        await store.create('/a', Buffer.alloc(1000, 1));
        await writeFile(filler, Buffer.alloc(1 << 20));
        const written: string[] = ['/a'];
        await assert.rejects(
          async () => {
            for (let index = 0; index < 100; index++) {
              const entry = await store.create(`/fill/${index}`, Buffer.alloc(50_000, index));
              written.push(entry.key);
            }
          },
          hasCode('unavailable', /disk is full: free some space/),
        );
        assert.ok(written.length > 1);
        assert.deepEqual((await store.list('/')).entries.map((entry) => entry.key).toSorted(), written.toSorted());
        await rm(filler);
        await store.create('/room', Buffer.alloc(1000));
        written.push('/room');
        await store.close();
        const reopened = await openSqliteStore({ path: join(mount, 'store.db') });
        assert.deepEqual((await reopened.list('/')).entries.map((entry) => entry.key).toSorted(), written.toSorted());
        await reopened.close();
      } finally {
        execFileSync('umount', [mount]);
      }
    },
  );

  inDirectory('says what is wrong with a file that cannot be opened', async (directory) => {
    await assert.rejects(
      openSqliteStore({ path: join(directory, 'none', 'x.db') }),
      hasCode('unavailable', /opening .*directory/),
    );
    const garbage = join(directory, 'garbage.db');
    await writeFile(garbage, Buffer.alloc(8192, 'garbage '));
    await assert.rejects(openSqliteStore({ path: garbage }), hasCode('corrupt', /damaged.*restore a backup/));
  });

  inDirectory('makes no empty database in the place of one that was lost', async (directory) => {
    const path = join(directory, 'store.db');
    const store = await openSqliteStore({ path });
    await store.create('/a', Buffer.alloc(10));
    await store.close();
    for (const ending of ['', '-wal', '-shm']) await rm(path + ending, { force: true });
    await assert.rejects(openSqliteStore({ path }), hasCode('corrupt', /lost: restore a backup, or remove .*made/));
    await writeFile(path, '');
    await assert.rejects(openSqliteStore({ path }), hasCode('corrupt', /empty, and was not before.*restore a backup/));
    for (const file of databaseFiles(path)) await rm(file, { force: true });
    const fresh = await openSqliteStore({ path });
    assert.deepEqual((await fresh.list('/')).entries, []);
    await fresh.close();
  });

  inDirectory('notices a damaged page and damaged bytes of a value', async (directory) => {
    const path = join(directory, 'store.db');
    let store = await openSqliteStore({ path });
    const marker = Buffer.alloc(2000, 'MARK');
    await store.create('/x/marked', marker);
    for (let index = 0; index < 200; index++) await store.create(`/y/${index}`, Buffer.alloc(300, 'y'));
    await store.close();
    const file = await open(path, 'r+');
    const content = await file.readFile();
    for (let at = content.indexOf('MARKMARK'); at >= 0; at = content.indexOf('MARKMARK', at + 1))
      content[at + 1] = 0x45;
    await file.write(content, 0, content.byteLength, 0);
    await file.close();
    store = await openSqliteStore({ path });
    await assert.rejects(store.get('/x/marked'), hasCode('corrupt', /marked.*checksum/));
    assert.equal((await store.list('/y/')).entries.length, 200);
    await store.close();

    const again = await open(path, 'r+');
    const { size } = await stat(path);
    for (let offset = 4096; offset < size; offset += 4096) await again.write(Buffer.alloc(64, 0xff), 0, 64, offset);
    await again.close();
    await assert.rejects(
      async () => {
        const damaged = await openSqliteStore({ path });
        try {
          await damaged.list('/');
        } finally {
          await damaged.close();
        }
      },
      hasCode('corrupt', /damaged/),
    );
  });

  inDirectory('keeps history and the write-ahead log bounded', async (directory) => {
    const path = join(directory, 'store.db');
    const store = await openSqliteStore({ path, history: { revisions: 500 } });
    let entry = await store.create('/busy', Buffer.alloc(20_000));
    for (let round = 0; round < 60; round++) {
      const others = Array.from({ length: 20 }, (_, index) =>
        store.create(`/o/${round}/${index}`, Buffer.alloc(20_000)),
      );
      await Promise.all(others);
      await Promise.all(Array.from({ length: 20 }, (_, index) => store.delete(`/o/${round}/${index}`)));
      entry = await store.update('/busy', Buffer.alloc(20_000, round), entry.revision);
    }
    await assert.rejects(store.list('/', { revision: 1 }), hasCode('compacted', /history begins at/));
    // 2,461 revisions of 20 kB would be 24 MB of values; of the last 550, half are values.
    await store.compact(entry.revision);
    assert.ok((await stat(`${path}-wal`)).size < 40 << 20);
    await store.close();
    assert.ok((await stat(path)).size < 20 << 20, `the database has ${(await stat(path)).size} bytes`);
  });

  inDirectory('begins the write-ahead log anew while writes never pause', async (directory) => {
    const path = join(directory, 'store.db');
    const store = await openSqliteStore({ path, history: { revisions: 500 } });
    const keys = Array.from({ length: 8 }, (_, index) => `/busy/${index}`);
    let entries = await Promise.all(keys.map((key) => store.create(key, new Uint8Array(0))));
    const until = Date.now() + 60_000;
    let [longest, sinceGrowth] = [0, 0];
    while (sinceGrowth < 24 << 20) {
      assert.ok(Date.now() < until, `the log has ${longest} bytes, and grows`);
      entries = await Promise.all(
        entries.map(({ key, revision }) => store.update(key, new Uint8Array(20_000).fill(revision), revision)),
      );
      sinceGrowth += 20_000 * entries.length;
      const { size } = await stat(`${path}-wal`);
      if (size > longest) [longest, sinceGrowth] = [size, 0];
    }
    assert.deepEqual((await store.list('/busy/')).entries, entries);
    await store.close();
    const reopened = await openSqliteStore({ path });
    assert.deepEqual((await reopened.list('/busy/')).entries, entries);
    await reopened.close();
  });

  inDirectory('drops a watcher that does not read', async (directory) => {
    const store = await openSqliteStore({ path: join(directory, 'store.db') });
    const watch = store.watch('/f/', { after: 0, signal: new AbortController().signal })[Symbol.asyncIterator]();
    await Promise.all([watch.next(), store.create('/f/first', Buffer.alloc(1))]);
    for (let round = 0; round < 101; round++) {
      await Promise.all(
        Array.from({ length: 1000 }, (_, index) => store.create(`/f/${round}/${index}`, Buffer.alloc(1))),
      );
    }
    await assert.rejects(watch.next(), hasCode('compacted', /list again/));
    await store.close();
  });

  inDirectory('lets only its owner read the files, and no second process write', async (directory) => {
    const path = join(directory, 'store.db');
    const store = await openSqliteStore({ path });
    const second = await openSqliteStore({ path });
    await store.create('/a', Buffer.from('1'));
    await assert.rejects(second.create('/b', Buffer.from('2')), hasCode('unavailable', /another process writes/));
    for (const name of ['store.db', 'store.db-wal', 'store.db-shm']) {
      assert.equal((await stat(join(directory, name))).mode & 0o777, 0o600, name);
    }
    assert.equal((await store.list('/')).entries.length, 1);
    await second.close();
    await store.close();
  });

  inDirectory('ends watches when it is closed', async (directory) => {
    const store = await openSqliteStore({ path: join(directory, 'store.db') });
    const watch = store.watch('/', { after: 0, signal: new AbortController().signal })[Symbol.asyncIterator]();
    const next = watch.next();
    await once(process, 'never', { signal: AbortSignal.timeout(1) }).catch(() => undefined);
    const ended = assert.rejects(next, hasCode('unavailable', /closed/));
    await store.close();
    await ended;
  });
});

describe('history policy', () => {
  it('forgets by number, and by time down to the least number', () => {
    let now = 0;
    const policy = createHistoryPolicy({ milliseconds: 1000, revisions: 100, leastRevisions: 20 }, () => now);
    assert.equal(policy.next(50, 0), undefined);
    assert.equal(policy.next(105, 0), undefined);
    assert.equal(policy.next(115, 0), 15);
    now = 1000;
    assert.equal(policy.next(116, 15), 50);
    now = 5000;
    assert.equal(policy.next(117, 50), 97);
  });

  it('forgets the little that a quiet cluster writes, once in the time', () => {
    let now = 0;
    const policy = createHistoryPolicy({ milliseconds: 1000 }, () => now);
    assert.equal(policy.next(10, 0), undefined);
    now = 999;
    assert.equal(policy.next(12, 0), undefined);
    now = 1000;
    assert.equal(policy.next(13, 0), 10);
    now = 1999;
    assert.equal(policy.next(14, 10), undefined);
    now = 2000;
    assert.equal(policy.next(15, 10), 12);
  });
});
