/**
 * A controller's queue: each key is in it at most once, and is never worked on twice at the same time. A key that comes
 * while it is worked on is worked on again afterwards.
 */
import { timerOf } from '#lib/longest-timer.ts';

interface WorkQueue {
  add(key: string, afterMilliseconds?: number): void;
  /** Adds the key after a delay that doubles with each failure in a row. Returns the delay. */
  retry(key: string): number;
  /** The key's work succeeded: its next failure is its first. */
  forget(key: string): void;
  /** Resolves when nothing is under way. Nothing new is begun. */
  close(): Promise<void>;
}

interface WorkQueueOptions {
  workers: number;
  /** Must not reject. */
  work: (key: string) => Promise<void>;
}

const firstRetry = 5;
const lastRetry = 1_000_000;

export function createWorkQueue({ workers, work }: WorkQueueOptions): WorkQueue {
  const waiting = new Set<string>();
  const working = new Map<string, Promise<void>>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const delayed = new Map<string, { due: number; timer: NodeJS.Timeout }>();
  let closed = false;

  function begin(): void {
    for (const key of waiting) {
      if (working.size >= workers || closed) return;
      waiting.delete(key);
      working.set(
        key,
        work(key).finally(() => {
          working.delete(key);
          if (again.delete(key)) waiting.add(key);
          begin();
        }),
      );
    }
  }

  function addNow(key: string): void {
    if (closed) return;
    if (working.has(key)) again.add(key);
    else waiting.add(key);
    begin();
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
      if (closed) return;
      if (afterMilliseconds > 0) addLater(key, afterMilliseconds);
      else addNow(key);
    },
    retry(key) {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      const delay = Math.min(firstRetry * 2 ** Math.min(count, 30), lastRetry);
      if (!closed) addLater(key, delay);
      return delay;
    },
    forget: (key) => void failures.delete(key),
    async close() {
      closed = true;
      waiting.clear();
      for (const { timer } of delayed.values()) clearTimeout(timer);
      delayed.clear();
      await Promise.all(working.values());
    },
  };
}
