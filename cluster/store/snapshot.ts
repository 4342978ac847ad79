import type { SnapshotPage, Store } from './store.ts';

const PAGE = 500;

/** For a driver whose history stays long enough to be listed in pages. Rejects with `compacted` where it did not. */
export async function* pagedSnapshot({ list }: Pick<Store, 'list'>): AsyncGenerator<SnapshotPage> {
  let { entries, revision, remaining } = await list('/', { limit: PAGE });
  yield { revision, entries };
  while (remaining > 0) {
    const startAfter = entries.at(-1)?.key ?? '';
    ({ entries, remaining } = await list('/', { limit: PAGE, startAfter, revision }));
    yield { revision, entries };
  }
}
