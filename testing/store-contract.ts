/**
 * The promises of `cluster/store/store.ts`, for every driver. A driver's test file calls `storeContract`.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { firstRevisionAfter, requireSame } from '#cluster/store/copy.ts';
import {
  type Entry,
  type SnapshotPage,
  type Store,
  StoreError,
  type StoreErrorCode,
  type StoreEvent,
} from '#cluster/store/store.ts';
import { type ChaosDriver, chaosRounds } from './store-chaos.ts';

/** `open` makes the store of the directory when there is none; no history is forgotten by itself. */
export interface StoreDriver extends ChaosDriver {
  name: string;
  /** Makes the store of a directory that has none. */
  copyInto(directory: string, pages: AsyncIterable<SnapshotPage>, after: number): Promise<number>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (entry: Entry | undefined): string | undefined => entry && new TextDecoder().decode(entry.value);

async function rejectsWith(code: StoreErrorCode, action: Promise<unknown>): Promise<StoreError> {
  const error = await action.then(
    () => assert.fail(`expected a StoreError ${code}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof StoreError, String(error));
  assert.equal(error.code, code, error.message);
  return error;
}

/** Reads events until there are `count` of them. */
async function take(store: Store, prefix: string, after: number, count: number): Promise<StoreEvent[]> {
  const stop = new AbortController();
  const events: StoreEvent[] = [];
  for await (const batch of store.watch(prefix, { after, signal: stop.signal })) {
    for (const event of batch.events) assert.ok(event.entry.revision <= batch.revision);
    events.push(...batch.events);
    if (events.length >= count) break;
  }
  stop.abort();
  return events;
}

export function storeContract(driver: StoreDriver): void {
  const withStore = (name: string, body: (store: Store) => Promise<void>): void => {
    it(name, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'sampan-store-'));
      const store = await driver.open(directory);
      try {
        await body(store);
      } finally {
        await store.close();
        await rm(directory, { recursive: true, force: true });
      }
    });
  };

  describe(`store contract: ${driver.name}`, () => {
    withStore('creates, reads, updates and deletes, comparing revisions', async (store) => {
      assert.equal(await store.get('/a/x'), undefined);
      const created = await store.create('/a/x', bytes('1'));
      assert.equal(created.createRevision, created.revision);
      assert.equal(text((await rejectsWith('exists', store.create('/a/x', bytes('2')))).entry), '1');
      const updated = await store.update('/a/x', bytes('2'), created.revision);
      assert.ok(updated.revision > created.revision);
      assert.equal(updated.createRevision, created.revision);
      const conflict = await rejectsWith('conflict', store.update('/a/x', bytes('3'), created.revision));
      assert.equal(conflict.entry?.revision, updated.revision);
      assert.equal(text(conflict.entry), '2');
      await rejectsWith('conflict', store.delete('/a/x', created.revision));
      await rejectsWith('not-found', store.update('/a/y', bytes('3'), 1));
      await rejectsWith('not-found', store.delete('/a/y'));
      assert.equal(text(await store.get('/a/x')), '2');
      const deleted = await store.delete('/a/x', updated.revision);
      assert.equal(text(deleted), '2');
      assert.ok(deleted.revision > updated.revision);
      assert.equal(await store.get('/a/x'), undefined);
      const again = await store.create('/a/x', bytes('4'));
      assert.equal(again.createRevision, again.revision);
      assert.equal(await store.revision(), again.revision);
    });

    withStore('keeps any bytes, also none and large ones', async (store) => {
      const large = new Uint8Array(3 << 20).map((_, index) => index * 7);
      await Promise.all([store.create('/v/empty', new Uint8Array(0)), store.create('/v/large', large)]);
      // A view into a larger buffer: only the view is the value.
      await store.create('/v/view', large.subarray(5, 8));
      assert.equal((await store.get('/v/empty'))?.value.byteLength, 0);
      assert.deepEqual((await store.get('/v/view'))?.value, new Uint8Array(large.subarray(5, 8)));
      assert.equal(Buffer.compare(large, (await store.get('/v/large'))?.value ?? bytes('')), 0);
    });

    withStore('lists a prefix in byte order, in pages that show one revision', async (store) => {
      const names = ['b', 'a', 'a/b', 'a-b', 'Z', 'c', 'a0'];
      for (const name of names) await store.create(`/p/${name}`, bytes(name));
      await store.create('/pq/other', bytes(''));
      await store.create('/o/other', bytes(''));
      const all = await store.list('/p/');
      assert.deepEqual(all.entries.map(text), names.toSorted());
      assert.equal(all.remaining, 0);
      assert.equal(all.revision, await store.revision());

      const first = await store.list('/p/', { limit: 3 });
      assert.equal(first.remaining, 4);
      // Later writes do not show in the pages that follow.
      const late = await store.get('/p/c');
      await store.update('/p/c', bytes('changed'), late?.revision ?? 0);
      await store.delete('/p/b');
      await store.create('/p/bb', bytes('new'));
      await store.create('/p/b', bytes('back'));
      await store.delete('/p/b');
      const seen = first.entries.map(text);
      for (let page = first; page.remaining > 0; ) {
        const startAfter = page.entries.at(-1)?.key ?? '';
        const next = await store.list('/p/', { limit: 2, startAfter, revision: first.revision });
        assert.equal(next.remaining, page.remaining - next.entries.length);
        seen.push(...next.entries.map(text));
        page = next;
      }
      assert.deepEqual(seen, names.toSorted());
      const then = await store.list('/p/', { revision: first.revision });
      assert.deepEqual(then, { ...all, revision: first.revision });
      assert.deepEqual((await store.list('/p/')).entries.map(text).slice(-2), ['new', 'changed']);
      await rejectsWith('future', store.list('/p/', { revision: (await store.revision()) + 1 }));
    });

    withStore('lists thousands of keys as of one revision while they change', async (store) => {
      const count = 1500;
      const key = (index: number): string => `/m/${String(index).padStart(5, '0')}`;
      await Promise.all(Array.from({ length: count }, (_, index) => store.create(key(index), bytes('0'))));
      // Every transaction changes nothing or one key; in any list no later change may show without the earlier ones.
      let writing = true;
      const writer = (async () => {
        for (let index = 0; writing; index = (index + 1) % count) {
          const entry = await store.get(key(index));
          await store.update(key(index), bytes('1'), entry?.revision ?? 0);
        }
      })();
      for (let round = 0; round < 5; round++) {
        const list = await store.list('/m/');
        assert.equal(list.entries.length, count);
        assert.ok(list.entries.every((entry) => entry.revision <= list.revision));
        assert.deepEqual(await store.list('/m/', { revision: list.revision }), list);
        const limited = await store.list('/m/', { limit: 1000, revision: list.revision });
        assert.equal(limited.remaining, 500);
        assert.deepEqual(limited.entries, list.entries.slice(0, 1000));
      }
      writing = false;
      await writer;
    });

    withStore('watches from a revision: history, then what comes, without gap or duplicate', async (store) => {
      const start = await store.revision();
      const one = await store.create('/w/a', bytes('1'));
      const two = await store.update('/w/a', bytes('2'), one.revision);
      await store.create('/other/a', bytes('x'));
      const all = take(store, '/w/', start, 4);
      const late = take(store, '/w/', one.revision, 3);
      const live = take(store, '/w/', two.revision, 2);
      const gone = await store.delete('/w/a');
      const back = await store.create('/w/a', bytes('3'));
      const expected: StoreEvent[] = [
        { type: 'create', entry: one, previous: undefined },
        { type: 'update', entry: two, previous: one },
        { type: 'delete', entry: gone, previous: two },
        { type: 'create', entry: back, previous: undefined },
      ];
      assert.deepEqual(plainEvents(await all), plainEvents(expected));
      assert.deepEqual(plainEvents(await late), plainEvents(expected.slice(1)));
      assert.deepEqual(plainEvents(await live), plainEvents(expected.slice(2)));
      assert.deepEqual(plainEvents(await take(store, '/w/', start, 4)), plainEvents(expected));
    });

    withStore('gives every watcher the same order under concurrent writers', async (store) => {
      const writers = 16;
      const rounds = 40;
      const total = writers * rounds;
      const watches = [take(store, '/c/', 0, total), take(store, '/c/', 0, total)];
      await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          const key = `/c/${writer % 5}/${writer}`;
          let entry = await store.create(key, bytes('0'));
          for (let round = 1; round < rounds; round++) {
            if (round === rounds / 2) watches.push(take(store, '/c/', entry.revision, 1));
            entry =
              round % 10 === 9
                ? await store.delete(key).then(() => entry)
                : round % 10 === 0
                  ? await store.create(key, bytes(String(round)))
                  : await store.update(key, bytes(String(round)), entry.revision);
          }
        }),
      );
      const [first, second] = await Promise.all(watches);
      assert.ok(first && second);
      assert.equal(first.length, total);
      assert.deepEqual(plainEvents(first), plainEvents(second));
      const revisions = first.map((event) => event.entry.revision);
      assert.deepEqual(
        revisions,
        revisions.toSorted((a, b) => a - b),
      );
      assert.equal(new Set(revisions).size, total);
      assert.deepEqual(plainEvents(await take(store, '/c/', 0, total)), plainEvents(first));
    });

    withStore('tells progress of what does not concern a watcher', async (store) => {
      const stop = new AbortController();
      const watch = store.watch('/quiet/', { after: 0, signal: stop.signal })[Symbol.asyncIterator]();
      const next = watch.next();
      const entry = await store.create('/loud/a', bytes(''));
      const batch = (await next).value;
      assert.deepEqual(batch, { events: [], revision: entry.revision });
      const end = watch.next();
      stop.abort();
      assert.equal((await end).done, true);
    });

    withStore('is linearizable: one register, many readers and writers', async (store) => {
      await store.create('/l/x', bytes('0'));
      let acknowledged = 0;
      const check = async (read: () => Promise<number>): Promise<void> => {
        let last = 0;
        for (let round = 0; round < 200; round++) {
          const atLeast = acknowledged;
          const seen = await read();
          assert.ok(seen >= atLeast, `a read saw ${seen} after ${atLeast} was acknowledged`);
          assert.ok(seen >= last, 'a read went back in time');
          last = seen;
        }
      };
      let wins = 0;
      const compete = async (): Promise<void> => {
        for (let round = 0; round < 60; round++) {
          const entry = await store.get('/l/x');
          assert.ok(entry);
          const value = Number(text(entry)) + 1;
          try {
            const written = await store.update('/l/x', bytes(String(value)), entry.revision);
            acknowledged = Math.max(acknowledged, written.revision);
            wins++;
          } catch (error) {
            assert.ok(error instanceof StoreError && error.code === 'conflict', String(error));
          }
        }
      };
      await Promise.all([
        ...Array.from({ length: 8 }, compete),
        check(async () => (await store.get('/l/x'))?.revision ?? 0),
        check(async () => (await store.list('/l/')).entries[0]?.revision ?? 0),
        check(() => store.revision()),
      ]);
      // No update was lost: as many increments as there were winners.
      assert.equal(Number(text(await store.get('/l/x'))), wins);
    });

    withStore('compacts: old lists and watches are refused, everything else stays', async (store) => {
      const kept = await store.create('/k/kept', bytes('kept'));
      const first = await store.create('/k/a', bytes('1'));
      const second = await store.update('/k/a', bytes('2'), first.revision);
      const gone = await store.create('/k/gone', bytes('x'));
      await store.delete('/k/gone');
      const third = await store.update('/k/a', bytes('3'), second.revision);
      const before = await store.list('/k/', { revision: gone.revision });
      await store.compact(gone.revision);
      await rejectsWith('compacted', store.list('/k/', { revision: first.revision }));
      await rejectsWith('compacted', take(store, '/k/', first.revision, 1));
      assert.deepEqual(await store.list('/k/', { revision: gone.revision }), before);
      assert.deepEqual(
        (await take(store, '/k/', gone.revision, 2)).map((event) => [event.type, text(event.previous)]),
        [
          ['delete', 'x'],
          ['update', '2'],
        ],
      );
      await store.compact(third.revision);
      await store.compact(third.revision);
      assert.deepEqual((await store.list('/k/')).entries.map(text), ['3', 'kept']);
      assert.equal((await store.get('/k/kept'))?.revision, kept.revision);
      await rejectsWith('future', store.compact((await store.revision()) + 1));
    });

    it('keeps revisions growing over compaction and reopening', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'sampan-store-'));
      try {
        let store = await driver.open(directory);
        await store.create('/r/a', bytes('1'));
        const deleted = await store.delete('/r/a');
        await store.compact(deleted.revision);
        await store.close();
        store = await driver.open(directory);
        assert.ok((await store.revision()) >= deleted.revision);
        await rejectsWith('compacted', store.list('/r/', { revision: deleted.revision - 1 }));
        assert.ok((await store.create('/r/a', bytes('2'))).revision > deleted.revision);
        await store.close();
        await rejectsWith('unavailable', store.create('/r/b', bytes('')));
        await rejectsWith('unavailable', store.get('/r/a'));
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    });

    withStore('shows one state of everything while writes go on', async (store) => {
      await Promise.all(Array.from({ length: 1200 }, (_, index) => store.create(`/s/${index}`, bytes('0'))));
      let writing = true;
      const writer = (async () => {
        for (let index = 0; writing; index++) {
          const entry = await store.get(`/s/${index}`);
          await store.update(`/s/${index}`, bytes('1'), entry?.revision ?? 0);
          await store.create(`/s/late/${index}`, bytes('1'));
        }
      })();
      const shown: Entry[] = [];
      let revision = 0;
      for await (const page of store.snapshot()) {
        assert.ok(revision === 0 || page.revision === revision);
        revision = page.revision;
        shown.push(...page.entries);
      }
      writing = false;
      await writer;
      const expected = await store.list('/', { revision });
      assert.deepEqual(shown, expected.entries);
      assert.ok((await store.list('/')).entries.length > shown.length);
    });

    withStore('shows that there is nothing', async (store) => {
      const pages = await Array.fromAsync(store.snapshot());
      assert.deepEqual(pages, [{ revision: await store.revision(), entries: [] }]);
    });

    withStore('is copied whole, to revisions above its own', async (store) => {
      await Promise.all(Array.from({ length: 700 }, (_, index) => store.create(`/x/${index}`, bytes(`v${index}`))));
      await store.create('/x/large', new Uint8Array(2 << 20));
      await store.delete('/x/7');
      const original = await store.revision();
      const after = firstRevisionAfter(original);
      const into = await mkdtemp(join(tmpdir(), 'sampan-store-'));
      assert.equal(await driver.copyInto(into, store.snapshot(), after), 700);
      const copy = await driver.open(into);
      try {
        assert.equal(await requireSame(store.snapshot(), copy.snapshot()), 700);
        const { entries, revision } = await copy.list('/x/');
        assert.ok(
          revision > original && entries.every((entry) => entry.revision >= after && entry.revision <= revision),
        );
        await rejectsWith('compacted', copy.list('/x/', { revision: original }));
        await rejectsWith('compacted', take(copy, '/x/', original, 1));
        const changed = take(copy, '/x/', revision, 2);
        const old = await copy.get('/x/8');
        const updated = await copy.update('/x/8', bytes('new'), old?.revision ?? 0);
        const deleted = await copy.delete('/x/9');
        assert.ok(old && updated.revision > revision);
        assert.deepEqual(
          (await changed).map(({ type, entry, previous }) => [type, entry.revision, text(previous)]),
          [
            ['update', updated.revision, 'v8'],
            ['delete', deleted.revision, 'v9'],
          ],
        );
        await copy.compact(deleted.revision);
        assert.equal(text(await copy.get('/x/8')), 'new');
        await rejectsWith('corrupt', requireSame(store.snapshot(), copy.snapshot()));
      } finally {
        await copy.close();
        await rm(into, { recursive: true });
      }
    });

    it('tells its clients the truth while it is killed', () => chaosRounds(driver, 3));
  });
}

/** Values as text, so that buffers of different classes compare. */
function plainEvents(events: StoreEvent[]): unknown[] {
  return events.map(({ type, entry, previous }) => [
    type,
    entry.key,
    entry.revision,
    entry.createRevision,
    text(entry),
    previous && [previous.revision, text(previous)],
  ]);
}
