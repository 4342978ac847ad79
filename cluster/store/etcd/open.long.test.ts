import assert from 'node:assert/strict';
import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Etcd, startEtcd } from '#testing/etcd.ts';
import { chaosRounds } from '#testing/store-chaos.ts';
import { until } from '#testing/until.ts';
import { StoreError, type StoreEvent } from '../store.ts';
import { openEtcdStore } from './open.ts';

async function chaos(etcd: Etcd, rounds: number): Promise<void> {
  let victim = 0;
  process.env.SAMPAN_TEST_ETCD = etcd.endpoints.join();
  await chaosRounds(
    {
      open: (directory) =>
        openEtcdStore({ endpoints: etcd.endpoints, prefix: directory, timeoutMilliseconds: 120_000 }),
      program: new URL('./killed-clients.fixture.ts', import.meta.url),
      async killServer() {
        const member = etcd.members[victim++ % etcd.members.length];
        await member?.kill();
        await member?.start();
      },
    },
    rounds,
  );
}

describe('etcd store, killed', () => {
  for (const [members, rounds] of [
    [1, 100],
    [3, 60],
  ] as const)
    it(`${members} members: ${rounds} rounds of kill -9 of a member and of its clients, who were told the truth`, async () => {
      const etcd = await startEtcd({ members });
      try {
        await chaos(etcd, rounds);
      } finally {
        await etcd.stop();
      }
    });
});

describe('etcd store of three members', () => {
  it('goes on when the leader is lost: every write is there, a watch has no gap and nothing twice', async () => {
    const cluster = await startEtcd({ members: 3 });
    const store = await openEtcdStore({ endpoints: cluster.endpoints, prefix: '/three' });
    try {
      const stop = new AbortController();
      const seen: StoreEvent[] = [];
      const watching = (async () => {
        for await (const { events } of store.watch('/', { after: 0, signal: stop.signal })) seen.push(...events);
      })();
      const written: number[] = [];
      let writing = true;
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        for (let index = 0; writing; index++) {
          const key = `/w/${writer}/${index}`;
          const entry = await store.create(key, Buffer.from('x')).catch(async (error: unknown) => {
            if (!(error instanceof StoreError) || !['unavailable', 'unknown'].includes(error.code)) throw error;
            return undefined;
          });
          if (entry !== undefined) written.push(entry.revision);
        }
      });
      for (const member of cluster.members) {
        const before = written.length;
        await until(async () => written.length > before + 20);
        await member.kill();
        await until(async () => written.length > before + 60, 120);
        await member.start();
      }
      writing = false;
      await Promise.all(writers);
      const { revision } = await store.list('/');
      await until(async () => (seen.at(-1)?.entry.revision ?? 0) >= Math.max(...written));
      stop.abort();
      await watching;
      const revisions = seen.map(({ entry }) => entry.revision);
      assert.deepEqual(
        revisions,
        [...new Set(revisions)].toSorted((a, b) => a - b),
      );
      assert.deepEqual(
        written.filter((one) => !revisions.includes(one)),
        [],
      );
      assert.ok(revision >= Math.max(...written));
    } finally {
      await store.close();
      await cluster.stop();
    }
  });
});

describe('etcd set back', () => {
  it('to an earlier state under a running store: it ends, rather than giving revisions out again', async () => {
    const etcd = await startEtcd();
    const [member] = etcd.members;
    const store = await openEtcdStore({ endpoints: etcd.endpoints, prefix: '/back' });
    const data = join(etcd.directory, 'm0');
    try {
      await store.create('/a/first', Buffer.from('x'));
      await member?.kill();
      await cp(data, `${data}.old`, { recursive: true });
      await member?.start();
      await until(async () =>
        store.create('/a/second', Buffer.from('x')).then(
          () => true,
          () => false,
        ),
      );
      const watch = store.watch('/a/', { after: await store.revision(), signal: new AbortController().signal });
      const next = watch[Symbol.asyncIterator]().next();
      next.catch(() => undefined);
      await member?.kill();
      await rm(data, { recursive: true });
      await rename(`${data}.old`, data);
      await member?.start();
      const isCorrupt = (error: unknown): boolean =>
        error instanceof StoreError && error.code === 'corrupt' && /was restored or replaced/.test(error.message);
      await assert.rejects(next, isCorrupt);
      await assert.rejects(store.get('/a/first'), isCorrupt);
    } finally {
      await store.close();
      await etcd.stop();
    }
  });
});
