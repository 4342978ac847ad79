/**
 * What a start has left is given back once it is over. A process at rest allocates next to nothing, so that nothing would ever be collected:
 * the code of modules that Node keeps until it writes it to its cache, the garbage of the start, and pages that the C library keeps for later.
 */
import { flushCompileCache } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { releaseFreedPages } from '#engine/sys/libc.ts';

/** By then who waited for the start has had its first answers: the collection stops everything for a tenth of a second. */
const AFTER_MILLISECONDS = 10_000;
/** With more, of a large cluster, it would stop everything for seconds, and gain little beside what there is. */
const MOST_HEAP_BYTES = 128 * 1024 * 1024;

export async function settle(signal: AbortSignal, after = AFTER_MILLISECONDS): Promise<void> {
  await delay(after, undefined, { signal, ref: false }).catch(() => undefined);
  if (signal.aborted) return;
  // Written where it is new: who is killed later need not compile again either.
  flushCompileCache();
  // Of node's flag --expose-gc; the other kinds of collection keep their room.
  if (process.memoryUsage().heapTotal < MOST_HEAP_BYTES)
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  releaseFreedPages();
}
