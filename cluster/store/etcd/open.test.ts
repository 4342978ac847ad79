import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Etcd, startEtcd } from '#testing/etcd.ts';
import { storeContract } from '#testing/store-contract.ts';
import { until } from '#testing/until.ts';
import { type Store, StoreError, type StoreErrorCode } from '../store.ts';
import { openEtcdClient } from './client.ts';
import { copyIntoEtcd } from './copy-in.ts';
import { type EtcdStoreOptions, openEtcdStore } from './open.ts';
import { repeatTxn } from './keyspace.ts';
import { type Tenant, tenureKey } from './tenure.ts';

let etcd: Etcd;
/** A machine that is busy keeps an answer for longer than a server of ours would wait. */
const timeoutMilliseconds = 120_000;

before(async () => {
  etcd = await startEtcd();
  // For the programs that are killed.
  process.env.SAMPAN_TEST_ETCD = etcd.endpoints.join();
});
after(() => etcd.stop());

storeContract({
  name: 'etcd',
  open: (directory) => openEtcdStore({ endpoints: etcd.endpoints, prefix: directory, timeoutMilliseconds }),
  copyInto: (directory, pages, after) =>
    copyIntoEtcd({ endpoints: etcd.endpoints, prefix: directory, owner: '', timeoutMilliseconds }, pages, after),
  program: new URL('./killed-clients.fixture.ts', import.meta.url),
  async killServer() {
    await etcd.members[0]?.kill();
    await etcd.members[0]?.start();
  },
});

const hasCode =
  (code: StoreErrorCode, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

let prefixes = 0;
async function withStore(
  options: Partial<EtcdStoreOptions>,
  body: (store: Store, prefix: string) => Promise<void>,
): Promise<void> {
  const prefix = options.prefix ?? `/test/${prefixes++}`;
  const store = await openEtcdStore({ endpoints: etcd.endpoints, prefix, timeoutMilliseconds, ...options });
  try {
    await body(store, prefix);
  } finally {
    await store.close();
  }
}

const write = (store: Store, key: string, text = 'x') => store.create(key, Buffer.from(text));

describe('etcd store', () => {
  it('a new store begins at revision 0, beside others and after compactions', () =>
    withStore({}, async (first, prefix) => {
      const { revision } = await write(first, '/a/x');
      await first.compact(revision);
      await withStore({ prefix: `${prefix}0` }, async (second) => {
        assert.equal(await second.revision(), 0);
        await write(second, '/a/y');
        const { entries } = await second.list('/');
        assert.deepEqual(
          entries.map(({ key }) => key),
          ['/a/y'],
        );
      });
      assert.equal((await first.list('/')).entries.length, 1);
    }));

  it('refuses a store of another owner, and goes on with its own', () =>
    withStore({ owner: 'me' }, async (_store, prefix) => {
      await withStore({ owner: 'me', prefix }, async (again) => void (await write(again, '/a/x')));
      await assert.rejects(
        withStore({ owner: 'you', prefix }, async () => undefined),
        hasCode('unavailable', /belongs to another instance \("me"\): use another prefix/),
      );
    }));

  it('says which server does not answer, and that the write did not happen', async () => {
    const endpoints = ['http://127.0.0.1:1'];
    await assert.rejects(
      openEtcdStore({ endpoints, prefix: '/none', timeoutMilliseconds: 300 }),
      hasCode('unavailable', /does not answer \(http:\/\/127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1\)/),
    );
    await assert.rejects(
      openEtcdStore({ endpoints: ['http://127.0.0.1:99999'], prefix: '/none', timeoutMilliseconds: 300 }),
      hasCode('unavailable', /127.0.0.1:99999/),
    );
  });

  it('goes to the next endpoint when one is not there', () =>
    withStore({ endpoints: ['http://127.0.0.1:1', ...etcd.endpoints] }, async (store) => {
      await write(store, '/a/x');
      assert.equal((await store.list('/a/')).entries.length, 1);
    }));

  it('refuses a value that is larger than etcd takes, and nothing was written', () =>
    withStore({}, async (store) => {
      const before = await store.revision();
      await assert.rejects(
        store.create('/a/large', Buffer.alloc(9 << 20)),
        hasCode('too-large', /--max-request-bytes/),
      );
      assert.equal(await store.revision(), before);
    }));

  it('watches go on over a compaction by others, or say that they cannot', () =>
    withStore({}, async (store, prefix) => {
      const { revision } = await write(store, '/a/x');
      const client = openEtcdClient({ endpoints: etcd.endpoints });
      const { kvs } = await client.range('test', { key: Buffer.from(`${prefix}/a/x`) });
      for (let index = 0; index < 5; index++) await write(store, `/a/y${index}`);
      await client.compact((kvs[0]?.modRevision ?? 0) + 3);
      client.close();
      await withStore({ prefix }, async (again) => {
        const watch = again.watch('/a/', { after: revision, signal: new AbortController().signal });
        await assert.rejects(watch[Symbol.asyncIterator]().next(), hasCode('compacted', /history begins at/));
        await assert.rejects(again.list('/a/', { revision }), hasCode('compacted', /no longer holds/));
      });
    }));

  it('an etcd that says nothing: reads fail in time, the fate of a write is told when it speaks again', () =>
    withStore({ timeoutMilliseconds: 500 }, async (store) => {
      const [member] = etcd.members;
      await write(store, '/a/x');
      await member?.pause();
      try {
        await assert.rejects(store.get('/a/x'), hasCode('unavailable', /does not answer \(.*no answer in time\)/));
        await assert.rejects(write(store, '/a/y'), hasCode('unknown', /did not say whether it was done/));
        const patient = withStore({ timeoutMilliseconds: 10_000 }, async () => undefined);
        member?.resume();
        await patient;
      } finally {
        member?.resume();
      }
    }));

  /** Leases outlast the test: nothing here depends on how fast this machine is. */
  const tenantOf = (id: string, name: string): Tenant => ({ id, name, seconds: 600, renewSeconds: 0.2 });
  const served = hasCode('unavailable', /served by another server \((here|there)\), and two would not know/);

  it('is served by one server, and taken over by its next run at once', async () => {
    const prefix = `/test/${prefixes++}`;
    const open = (tenant: Tenant): Promise<Store> => openEtcdStore({ endpoints: etcd.endpoints, prefix, tenant });
    const first = await open(tenantOf('one', 'here'));
    await write(first, '/a/1');
    await assert.rejects(open({ ...tenantOf('two', 'there'), seconds: 0.1 }), served);
    await write(first, '/a/2');
    const again = await open(tenantOf('one', 'here'));
    await assert.rejects(write(first, '/a/3'), served);
    await write(again, '/a/3');
    await Promise.all([first.close(), again.close()]);
    // Whoever closes hands over at once.
    const other = await open(tenantOf('two', 'there'));
    await write(other, '/a/4');
    assert.equal((await other.list('/a/')).entries.length, 4);
    await other.close();
  });

  it('a server whose lease ended takes the store back from nobody, and is told of who has it', () =>
    withStore({ tenant: tenantOf('one', 'here') }, async (store, prefix) => {
      const client = openEtcdClient({ endpoints: etcd.endpoints });
      const lose = () => repeatTxn(client, 'test', { compare: [], success: [{ remove: { key } }], failure: [] });
      const key = tenureKey(prefix);
      try {
        await lose();
        await write(store, '/a/1');
        await lose();
        await Promise.all(['2', '3', '4'].map((name) => write(store, `/a/${name}`)));
        const value = Buffer.from(JSON.stringify({ id: 'two', name: 'there' }));
        const after = await store.revision();
        await repeatTxn(client, 'test', { compare: [], success: [{ put: { key, value } }], failure: [] });
        const watch = store.watch('/', { after, signal: new AbortController().signal });
        await assert.rejects(watch[Symbol.asyncIterator]().next(), served);
        await assert.rejects(store.get('/a/1'), served);
      } finally {
        client.close();
      }
    }));

  it('leases are renewed until they are revoked', async () => {
    const client = openEtcdClient({ endpoints: etcd.endpoints });
    await client.grantLease(2 ** 47 + 1, 600);
    // As after an answer that was lost.
    await client.grantLease(2 ** 47 + 1, 600);
    assert.equal(await client.renewLease(2 ** 47 + 1), true);
    await client.revokeLease(2 ** 47 + 1);
    assert.equal(await client.renewLease(2 ** 47 + 1), false);
    client.close();
  });

  it('keeps history bounded', () =>
    withStore({ history: { revisions: 100 } }, async (store) => {
      let entry = await write(store, '/busy/x');
      for (let round = 0; round < 200; round++)
        entry = await store.update('/busy/x', Buffer.from(String(round)), entry.revision);
      await until(async () =>
        store.list('/', { revision: 50 }).then(
          () => false,
          (error: unknown) => hasCode('compacted', /history begins at/)(error),
        ),
      );
    }));
});

describe('etcd store over TLS', () => {
  it('shows its certificate, and says what is wrong without', async () => {
    const secure = await startEtcd({ tls: true });
    try {
      const { endpoints } = secure;
      const tls = secure.tls ?? {};
      const store = await openEtcdStore({ endpoints, prefix: '/tls', tls: () => tls });
      await write(store, '/a/x');
      await store.close();
      const failing = (given: typeof tls) =>
        openEtcdStore({ endpoints, prefix: '/tls', tls: () => given, timeoutMilliseconds: 500 });
      await assert.rejects(failing({}), hasCode('unavailable', /certificate/));
      await assert.rejects(failing({ ca: secure.tls?.ca ?? '' }), hasCode('unavailable', /alert|certificate/));
    } finally {
      await secure.stop();
    }
  });
});
