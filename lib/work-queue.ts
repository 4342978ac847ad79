/**
 * A controller's queue: each key is in it at most once, and is never worked on twice at the same time. A key that comes while it is worked
 * on is worked on again afterwards; what fails is done again after a wait that doubles with each failure in a row.
 */
import { timerOf } from './longest-timer.ts';

export interface WorkQueue {
  /** Keys that come together are begun together, after whoever adds them is done. */
  add(key: string, afterMilliseconds?: number): void;
  /** Resolves when nothing is under way. Nothing new is begun. */
  close(): Promise<void>;
}

interface Failure {
  /** In a row: 1 is the first. */
  count: number;
  retryMilliseconds: number;
}

interface WorkQueueOptions {
  /** Keys that are worked on at once. */
  workers: number;
  work: (key: string) => Promise<void>;
  /** Waits after a first failure, and at most. */
  retry: { firstMilliseconds: number; lastMilliseconds: number };
  onFailure: (key: string, error: unknown, failure: Failure) => void;
}

export function createWorkQueue({ workers, work, retry, onFailure }: WorkQueueOptions): WorkQueue {
  const waiting = new Set<string>();
  const working = new Map<string, Promise<void>>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const delayed = new Map<string, { due: number; timer: NodeJS.Timeout }>();
  let isAwake = false;
  let isClosed = false;

  function begin(): void {
    isAwake = false;
    for (const key of waiting) {
      if (working.size >= workers || isClosed) return;
      waiting.delete(key);
      working.set(
        key,
        run(key).finally(() => {
          working.delete(key);
          if (again.delete(key)) waiting.add(key);
          begin();
        }),
      );
    }
  }

  async function run(key: string): Promise<void> {
    try {
      await work(key);
      failures.delete(key);
    } catch (error) {
      if (isClosed) return;
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      const wait = retry.firstMilliseconds * 2 ** Math.min(count - 1, 30);
      const retryMilliseconds = Math.min(retry.lastMilliseconds, wait);
      addLater(key, retryMilliseconds);
      onFailure(key, error, { count, retryMilliseconds });
    }
  }

  function addNow(key: string): void {
    if (isClosed) return;
    if (working.has(key)) again.add(key);
    else waiting.add(key);
    if (isAwake) return;
    isAwake = true;
    queueMicrotask(begin);
  }

  function addLater(key: string, milliseconds: number): void {
    const due = performance.now() + milliseconds;
    const planned = delayed.get(key);
    if (planned && planned.due <= due) return;
    clearTimeout(planned?.timer);
    const fire = (): void => {
      delayed.delete(key);
      addNow(key);
    };
    // A key woken too early does no harm.
    const timer = setTimeout(fire, timerOf(milliseconds));
    timer.unref();
    delayed.set(key, { due, timer });
  }

  return {
    add(key, afterMilliseconds = 0) {
      if (isClosed) return;
      if (afterMilliseconds > 0) addLater(key, afterMilliseconds);
      else addNow(key);
    },
    async close() {
      isClosed = true;
      waiting.clear();
      for (const { timer } of delayed.values()) clearTimeout(timer);
      delayed.clear();
      await Promise.all(working.values());
    },
  };
}
