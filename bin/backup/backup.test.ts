import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Entry, SnapshotPage } from '#cluster/store/store.ts';
import { type Backup, BackupError, readArchive, writeArchive } from './archive.ts';
import { finishRestore, restoreDirectory } from './finish.ts';
import { beginStaging, commitStaging, filesToKeep, stageFiles } from './staging.ts';

const entry = (key: string, value: Uint8Array): Entry => ({ key, value, revision: 7, createRevision: 7 });
const values: [string, Uint8Array][] = [
  ['/registry/a', Buffer.from('{"a":1}\n')],
  ['/registry/empty', new Uint8Array(0)],
  ['/registry/large', Buffer.alloc(5 << 20, 'x')],
  ['/registry/z', Buffer.from([0, 10, 255])],
];

function sample(files: Backup['files'] = []): Backup {
  return {
    manifest: { version: '1.2.3', instance: 'box', createdAt: '2026-01-01T00:00:00Z', revision: 42 },
    files,
    pages: (async function* (): AsyncGenerator<SnapshotPage> {
      for (const [key, value] of values) yield { revision: 42, entries: [entry(key, value)] };
    })(),
  };
}

const bytesOf = async (backup: Backup): Promise<Buffer> => Buffer.concat(await Array.fromAsync(writeArchive(backup)));

async function read(bytes: Buffer): Promise<Map<string, Buffer>> {
  const { pages } = await readArchive(Readable.from([bytes]));
  const found = new Map<string, Buffer>();
  for await (const { entries } of pages) for (const { key, value } of entries) found.set(key, Buffer.from(value));
  return found;
}

const refused =
  (code: BackupError['code'], why: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof BackupError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, why);
    return true;
  };

describe('backup archive', () => {
  it('holds what was put into it', async () => {
    const file = { path: 'pki/ca.key', mode: 0o600, content: Buffer.from('key') };
    const bytes = await bytesOf(sample([file]));
    const { manifest, files } = await readArchive(Readable.from([bytes]));
    assert.deepEqual(manifest, { format: 1, ...sample().manifest });
    assert.deepEqual(files, [file]);
    assert.deepEqual(await read(bytes), new Map(values.map(([key, value]) => [key, Buffer.from(value)])));
  });

  it('refuses what was cut off anywhere, or changed in any byte', async () => {
    const bytes = await bytesOf(sample());
    for (let length = 100; length < bytes.length; length += Math.ceil(bytes.length / 40))
      await assert.rejects(read(bytes.subarray(0, length)), BackupError, `of ${length} bytes`);
    const tar = gunzipSync(bytes);
    // Each part of the headers and of the contents; padding between them means nothing.
    for (const text of ['sampan-backup', 'createdAt', 'store/00000001', '/registry/a', '{"a":1}', 'xxxx', 'sha256\0']) {
      const changed = Buffer.from(tar);
      const at = changed.indexOf(text);
      assert.ok(at >= 0, text);
      changed[at + 1] = (changed[at + 1] ?? 0) ^ 1;
      await assert.rejects(read(gzipSync(changed)), BackupError, text);
    }
    await assert.rejects(read(Buffer.from('no backup at all')), BackupError);
    await assert.rejects(read(gzipSync(tar.subarray(0, tar.length - 2048))), refused('damaged', /cut off/));
  });

  it('refuses another format with the version that wrote it', async () => {
    const tar = gunzipSync(await bytesOf(sample()))
      .toString('latin1')
      .replace('"format": 1', '"format": 2');
    await assert.rejects(
      read(gzipSync(Buffer.from(tar, 'latin1'))),
      refused('foreign', /format 2, written by version 1\.2\.3; this version reads format 1/),
    );
  });

  it('tells its reader when the state could not be read', async () => {
    const failing = {
      ...sample(),
      pages: (async function* (): AsyncGenerator<SnapshotPage> {
        yield { revision: 1, entries: [] };
        throw new Error('the disk is gone');
      })(),
    };
    await assert.rejects(bytesOf(failing), /the disk is gone/);
  });
});

describe('a restore', () => {
  function inDirectory(body: (data: string) => Promise<void>): () => Promise<void> {
    return async () => {
      const data = mkdtempSync(join(tmpdir(), 'sampan-restore-'));
      try {
        await body(data);
      } finally {
        rmSync(data, { recursive: true });
      }
    };
  }
  function write(data: string, files: Record<string, string>): void {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(data, path, '..'), { recursive: true });
      writeFileSync(join(data, path), text, { mode: 0o600 });
    }
  }
  const contents = (data: string): Record<string, string> =>
    Object.fromEntries(
      readdirSync(data, { recursive: true, encoding: 'utf8' })
        .filter((path) => statSync(join(data, path)).isFile())
        .sort()
        .map((path) => [path, readFileSync(join(data, path), 'utf8')]),
    );
  const before = {
    'admin-password': 'old',
    'cluster/audit-policy.yaml': 'old',
    'cluster/audit.log': 'stays',
    'cluster/store.db': 'old',
    'cluster/store.db-wal': 'old',
    'engine/blob': 'stays',
    'instance.json': 'old',
    'pki/ca.key': 'old',
    'pki/gone.key': 'old',
  };
  const after = {
    'admin-password': 'new',
    'cluster/audit.log': 'stays',
    'cluster/store.db': 'new',
    'engine/blob': 'stays',
    'instance.json': 'new',
    'pki/ca.key': 'new',
  };
  const backup = ['admin-password', 'instance.json', 'pki/ca.key'].map((path) => ({
    path,
    mode: 0o600,
    content: Buffer.from('new'),
  }));

  it(
    'replaces what a backup holds and nothing else',
    inDirectory(async (data) => {
      write(data, before);
      assert.deepEqual(
        filesToKeep(data).map(({ path }) => path),
        ['instance.json', 'admin-password', 'pki/ca.key', 'pki/gone.key', 'cluster/audit-policy.yaml'],
      );
      const { directory, database } = beginStaging(data);
      stageFiles(directory, backup);
      writeFileSync(database, 'new');
      assert.deepEqual(contents(data)['instance.json'], 'old');
      await commitStaging(data);
      assert.deepEqual(contents(data), after);
    }),
  );

  it(
    'that was killed after it happened is finished by whoever comes next, from every step',
    inDirectory(async (data) => {
      const make = async (name: string): Promise<string> => {
        const own = join(data, name);
        write(own, before);
        const { directory, database } = beginStaging(own);
        stageFiles(directory, backup);
        writeFileSync(database, 'new');
        return own;
      };
      const move = ['cluster/store.db', 'instance.json', 'admin-password', 'pki'];
      const remove = ['cluster/store.db-wal', 'cluster/store.db-shm', 'secrets.json', 'cluster/audit-policy.yaml'];
      for (let steps = 0; steps <= move.length; steps++) {
        const own = await make(`${steps}`);
        renameSync(join(own, '.restore-new'), restoreDirectory(own));
        writeFileSync(join(restoreDirectory(own), 'plan.json'), JSON.stringify({ move, remove }));
        for (const item of move.slice(0, steps)) {
          rmSync(join(own, item), { recursive: true });
          renameSync(join(restoreDirectory(own), item), join(own, item));
        }
        const next = move[steps];
        if (next !== undefined) rmSync(join(own, next), { recursive: true });
        finishRestore(own);
        finishRestore(own);
        assert.deepEqual(contents(own), after, `after ${steps} steps`);
      }
    }),
  );

  it(
    'takes no file that no backup has',
    inDirectory(async (data) => {
      const { directory } = beginStaging(data);
      for (const path of ['../etc/passwd', 'pki/../../x', 'pki/a/b', 'engine/x', 'cluster/store.db'])
        assert.throws(
          () => stageFiles(directory, [{ path, mode: 0o600, content: Buffer.alloc(0) }]),
          BackupError,
          path,
        );
    }),
  );
});
