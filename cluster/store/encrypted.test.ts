import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { apiFixture } from '#testing/apiserver-fixture.ts';
import { storeContract } from '#testing/store-contract.ts';
import { until } from '#testing/until.ts';
import { type EncryptionOptions, encryptedStore, reencrypt } from './encrypted.ts';
import { addEncryptionKey, openEncryptionKeys } from './encryption-keys.ts';
import { finishKeyRotation } from './key-rotation.ts';
import { copyIntoSqlite } from './sqlite/copy-in.ts';
import { openSqliteStore } from './sqlite/open.ts';
import { type Store, StoreError } from './store.ts';

const PLAIN = 'a-plain-text-that-nobody-may-find';
const SECRETS = '/registry/core/secrets/';

/** Everything that the contract writes is encrypted, and its promises hold as they are. */
storeContract({
  name: 'sqlite, encrypted',
  open: async (directory) =>
    encryptedStore(await openSqliteStore({ path: join(directory, 'store.db') }), {
      keys: [{ name: '1', secret: Buffer.alloc(32, 7) }],
      prefixes: ['/'],
    }),
  copyInto: (directory, pages, after) => copyIntoSqlite(join(directory, 'store.db'), pages, after),
  program: new URL('./sqlite/killed-clients.fixture.ts', import.meta.url),
});

async function withDirectory(body: (directory: string, disk: Store) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-encrypted-'));
  const disk = await openSqliteStore({ path: join(directory, 'store.db') });
  try {
    await body(directory, disk);
  } finally {
    await disk.close();
    await rm(directory, { recursive: true });
  }
}

/** Does any file of the directory hold these bytes? */
async function holds(directory: string, text: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(directory))
    if ((await readFile(join(directory, name)).catch(() => Buffer.alloc(0))).includes(text)) found.push(name);
  return found;
}

describe('encryption at rest', () => {
  it('no file of the store holds the plain text, and every read shows it', () =>
    withDirectory(async (directory, disk) => {
      const keys = await openEncryptionKeys(join(directory, 'keys.json'));
      const store = encryptedStore(disk, { keys, prefixes: [SECRETS] });
      const { revision } = await store.create(`${SECRETS}default/a`, Buffer.from(PLAIN));
      await store.update(`${SECRETS}default/a`, Buffer.from(`${PLAIN}, again`), revision);
      await store.create('/registry/core/configmaps/default/a', Buffer.from('open'));
      assert.deepEqual(await holds(directory, PLAIN), []);
      assert.notDeepEqual(await holds(directory, 'open'), []);
      assert.match(String(Buffer.from((await disk.get(`${SECRETS}default/a`))?.value ?? [])), /^k8s:enc:aesgcm:v1:1:/);
      assert.equal(String(Buffer.from((await store.get(`${SECRETS}default/a`))?.value ?? [])), `${PLAIN}, again`);
      const refused = await store.create(`${SECRETS}default/a`, Buffer.from('x')).catch((error: unknown) => error);
      assert.ok(refused instanceof StoreError);
      assert.equal(String(Buffer.from(refused.entry?.value ?? [])), `${PLAIN}, again`);
    }));

  it('a new key writes, the old one reads, and what is old is written anew', () =>
    withDirectory(async (directory, disk) => {
      const path = join(directory, 'keys.json');
      await disk.create(`${SECRETS}default/plain`, Buffer.from('from before'));
      const first = encryptedStore(disk, { keys: await openEncryptionKeys(path), prefixes: [SECRETS] });
      await first.create(`${SECRETS}default/old`, Buffer.from('by the first'));
      assert.equal(await addEncryptionKey(path), '2');
      const options = { keys: await openEncryptionKeys(path), prefixes: [SECRETS] };
      const second = encryptedStore(disk, options);
      const read = async (name: string) => String(Buffer.from((await second.get(SECRETS + name))?.value ?? []));
      assert.deepEqual([await read('default/plain'), await read('default/old')], ['from before', 'by the first']);
      assert.equal(await reencrypt(disk, options), 2);
      assert.equal(await reencrypt(disk, options), 0);
      const alone = { keys: options.keys.slice(0, 1), prefixes: [SECRETS] };
      const { entries } = await encryptedStore(disk, alone).list(SECRETS);
      assert.deepEqual(
        entries.map(({ value }) => String(Buffer.from(value))),
        ['by the first', 'from before'],
      );
      const without = encryptedStore(disk, { keys: options.keys.slice(1), prefixes: [SECRETS] });
      await assert.rejects(
        without.get(`${SECRETS}default/old`),
        /encrypted with the key "2", which is not there: put it back/,
      );
    }));

  it('a rotation under load leaves nothing that only an older key opens, and then no older key', () =>
    withDirectory(async (directory, disk) => {
      const path = join(directory, 'keys.json');
      const options: EncryptionOptions = { keys: [], prefixes: [SECRETS] };
      await finishKeyRotation(disk, options, path);
      const store = encryptedStore(disk, options);
      const before = (await store.create(`${SECRETS}default/first`, Buffer.from('first'))).revision;
      let writing = true;
      let count = 0;
      const writers = Array.from({ length: 16 }, async (_, writer) => {
        for (let index = 0; writing; index++, count++)
          await store.create(`${SECRETS}${writer}/${index}`, Buffer.from(`${writer}-${index}`));
      });
      try {
        for (const name of ['2', '3', '4']) {
          const enough = count + 100;
          await until(async () => count > enough);
          assert.equal(await addEncryptionKey(path), name);
          assert.ok((await finishKeyRotation(disk, options, path)) > 0);
          assert.deepEqual(
            (await openEncryptionKeys(path)).map((key) => key.name),
            [name],
          );
        }
      } finally {
        writing = false;
      }
      await Promise.all(writers);
      const alone = encryptedStore(disk, { keys: await openEncryptionKeys(path), prefixes: [SECRETS] });
      const { entries } = await alone.list('/');
      assert.equal(entries.length, count + 1);
      // Nor can history be asked for what they wrote.
      await assert.rejects(alone.list(SECRETS, { revision: before }), /history begins at/);
    }));

  it('a value that was moved or changed on disk is refused', () =>
    withDirectory(async (directory, disk) => {
      const keys = await openEncryptionKeys(join(directory, 'keys.json'));
      const store = encryptedStore(disk, { keys, prefixes: [SECRETS] });
      const { revision } = await store.create(`${SECRETS}default/a`, Buffer.from('mine'));
      const value = Buffer.from((await disk.get(`${SECRETS}default/a`))?.value ?? []);
      await disk.create(`${SECRETS}other/a`, value);
      await assert.rejects(store.get(`${SECRETS}other/a`), /cannot be decrypted with the key "1"/);
      for (const cut of [value.subarray(0, -1), value.subarray(0, 24), value.subarray(0, 20)]) {
        await disk.delete(`${SECRETS}other/a`);
        await disk.create(`${SECRETS}other/a`, cut);
        await assert.rejects(
          store.get(`${SECRETS}other/a`),
          (error: unknown) => error instanceof StoreError && error.code === 'corrupt',
        );
      }
      value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
      await disk.update(`${SECRETS}default/a`, value, revision);
      await assert.rejects(store.get(`${SECRETS}default/a`), /it was changed on disk/);
    }));

  it('keys that others may read, or that are none, are refused', () =>
    withDirectory(async (directory) => {
      const path = join(directory, 'keys.json');
      await openEncryptionKeys(path);
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      await chmod(path, 0o640);
      await assert.rejects(openEncryptionKeys(path), /others may read them; chmod 600 it/);
      await chmod(path, 0o600);
      for (const [text, why] of [
        ['{', /it is not JSON/],
        ['{"keys":[]}', /there is no key/],
        ['{"keys":[{"name":"a:b","secret":"AAAA"}]}', /keys\[0\].* needs a name .* and a secret of 32 bytes/],
      ] as const) {
        await writeFile(path, text);
        await assert.rejects(openEncryptionKeys(path), why);
      }
    }));

  it('an API server over it: Secrets are served, watched and kept over a restart, and are in no file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sampan-keys-'));
    const keys = await openEncryptionKeys(join(directory, 'keys.json'));
    const fixture = await apiFixture({ wrapStore: (disk) => encryptedStore(disk, { keys, prefixes: [SECRETS] }) });
    try {
      const path = '/api/v1/namespaces/default/secrets';
      const events = await fixture.watch(`${path}?watch=1`);
      const body = { metadata: { name: 'a' }, stringData: { password: PLAIN } };
      assert.equal((await fixture.call('POST', path, { body })).status, 201);
      const encoded = Buffer.from(PLAIN).toString('base64');
      const { value } = await events.next();
      assert.deepEqual((value?.object as { data?: object } | undefined)?.data, { password: encoded });
      await events.return(undefined);
      await fixture.restart();
      assert.deepEqual((await fixture.call('GET', `${path}/a`)).json['data'], { password: encoded });
      assert.deepEqual(await holds(fixture.directory, encoded), []);
      assert.deepEqual(await holds(fixture.directory, PLAIN), []);
    } finally {
      await fixture.close();
      await rm(directory, { recursive: true });
    }
  });
});
