/**
 * Copies of a whole store, in another driver or at another time.
 *
 * A copy's keys are written anew, with revisions above those of the original: far above, since an original may have gone on after a
 * copy was taken of it. A client that comes back with a revision of the original is told that it is compacted, and lists
 * again; no revision ever means two things.
 */
import { type Entry, type SnapshotPage, StoreError } from './store.ts';

/** More than an original can have gone on by. Revisions stay exact up to 2^53: enough for millions of copies of copies. */
const REVISION_GAP = 1_000_000_000;

/** Where the revisions of a copy begin. */
export function firstRevisionAfter(original: number): number {
  return original + REVISION_GAP;
}

/** Throws at the first key that is not the same in both, or in one only. Returns how many there are. */
export async function requireSame(
  original: AsyncIterable<SnapshotPage>,
  copy: AsyncIterable<SnapshotPage>,
): Promise<number> {
  const [left, right] = [entriesOf(original), entriesOf(copy)];
  try {
    for (let count = 0; ; count++) {
      const [one, other] = [await left.next(), await right.next()];
      if (one.done === true && other.done === true) return count;
      requireSameEntry(one.value as Entry | undefined, other.value as Entry | undefined);
    }
  } finally {
    await Promise.all([left.return(), right.return()]);
  }
}

function requireSameEntry(original: Entry | undefined, copy: Entry | undefined): void {
  if (original?.key === copy?.key && Buffer.compare(original?.value ?? NOTHING, copy?.value ?? NOTHING) === 0) return;
  const key = original === undefined || (copy !== undefined && copy.key < original.key) ? copy?.key : original.key;
  throw new StoreError('corrupt', `the copy differs from the original at ${JSON.stringify(key)}: copy again`);
}

const NOTHING = new Uint8Array(0);

export async function* entriesOf(pages: AsyncIterable<SnapshotPage>): AsyncGenerator<Entry, void> {
  for await (const { entries } of pages) yield* entries;
}
