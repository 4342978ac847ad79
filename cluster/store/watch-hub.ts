/**
 * Hands committed events to watchers, for any driver that sees all of them in one process. The driver publishes each commit in
 * revision order; a watcher that starts in the past first gets what the driver's history holds.
 */
import { StoreError, type StoreEvent, type WatchBatch } from './store.ts';

const backlogLimit = 100_000;

interface WatchHubOptions {
  /** The newest revision published when the hub is made. */
  revision: number;
  /** Revisions below it have no history. */
  compacted: () => number;
  /** Events of the range in order; rejects with `compacted` when they are no longer there. */
  replay: (range: ReplayRange) => AsyncIterable<WatchBatch>;
}

export interface ReplayRange {
  prefix: string;
  after: number;
  /** Published already: so far, and with it. */
  until: number;
  signal: AbortSignal;
}

interface Watcher {
  prefix: string;
  after: number;
  batches: WatchBatch[];
  backlog: number;
  /** Everything up to here is delivered or in `batches`. */
  revision: number;
  reported: number;
  failure: StoreError | undefined;
  wake: (() => void) | undefined;
}

interface WatchHub {
  readonly revision: number;
  /** Is anybody interested in the key? */
  wants(key: string): boolean;
  /** `revision` is that of the last event of the commit. */
  publish(events: StoreEvent[], revision: number): void;
  watch(prefix: string, options: { after: number; signal: AbortSignal }): AsyncGenerator<WatchBatch>;
  /** Ends the watches that there are with the error. */
  drop(error: StoreError): void;
  /** Also those that come. */
  close(error: StoreError): void;
}

export function createWatchHub(options: WatchHubOptions): WatchHub {
  const watchers = new Set<Watcher>();
  let revision = options.revision;
  let closed: StoreError | undefined;
  let progressDue = false;

  function end(watcher: Watcher, error: StoreError): void {
    watcher.failure = error;
    watcher.batches = [];
    watchers.delete(watcher);
    watcher.wake?.();
  }

  function deliver(watcher: Watcher, events: StoreEvent[]): void {
    const own = events.filter(
      (event) => event.entry.revision > watcher.after && event.entry.key.startsWith(watcher.prefix),
    );
    watcher.revision = revision;
    if (own.length === 0) return;
    watcher.backlog += own.length;
    if (watcher.backlog > backlogLimit) {
      end(
        watcher,
        new StoreError(
          'compacted',
          `watch of ${watcher.prefix}: ${watcher.backlog} events wait to be read: list again`,
        ),
      );
      return;
    }
    watcher.batches.push({ events: own, revision });
    watcher.wake?.();
  }

  /** Once in a turn of the event loop, however many commits it had. */
  function tellProgress(): void {
    progressDue = false;
    for (const watcher of watchers) if (watcher.reported < watcher.revision) watcher.wake?.();
  }

  function drop(error: StoreError): void {
    for (const watcher of watchers) end(watcher, error);
  }

  async function* watch(
    prefix: string,
    { after, signal }: { after: number; signal: AbortSignal },
  ): AsyncGenerator<WatchBatch> {
    if (closed) throw closed;
    if (after < options.compacted()) throw tooOld(prefix, after, options.compacted());
    const watcher: Watcher = {
      prefix,
      after,
      batches: [],
      backlog: 0,
      revision,
      reported: after,
      failure: undefined,
      wake: undefined,
    };
    const onAbort = (): void => watcher.wake?.();
    const from = revision;
    watchers.add(watcher);
    signal.addEventListener('abort', onAbort);
    try {
      if (after < from) {
        for await (const batch of options.replay({ prefix, after, until: from, signal })) {
          watcher.reported = batch.revision;
          yield batch;
        }
      }
      while (!signal.aborted) {
        if (watcher.failure) throw watcher.failure;
        const batch = watcher.batches.shift();
        if (batch) {
          watcher.backlog -= batch.events.length;
          watcher.reported = Math.max(watcher.reported, batch.revision);
          yield batch;
        } else if (watcher.reported < watcher.revision) {
          watcher.reported = watcher.revision;
          yield { events: [], revision: watcher.reported };
        } else {
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
          });
          watcher.wake = undefined;
        }
      }
    } finally {
      watchers.delete(watcher);
      signal.removeEventListener('abort', onAbort);
    }
  }

  return {
    get revision() {
      return revision;
    },
    wants(key) {
      for (const watcher of watchers) if (key.startsWith(watcher.prefix)) return true;
      return false;
    },
    publish(events, newest) {
      if (newest <= revision) return;
      revision = newest;
      for (const watcher of watchers) deliver(watcher, events);
      if (progressDue || watchers.size === 0) return;
      progressDue = true;
      setImmediate(tellProgress);
    },
    watch,
    drop,
    close(error) {
      closed = error;
      drop(error);
    },
  };
}

export function tooOld(prefix: string, after: number, compacted: number): StoreError {
  return new StoreError('compacted', `watch of ${prefix} after revision ${after}: history begins at ${compacted}`);
}
