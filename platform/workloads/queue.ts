/** A queue of keys: one key is never worked on twice at once, a failure is tried again with exponential back-off. */
import { timerOf } from '#lib/longest-timer.ts';

const FIRST_RETRY = 50;
const LAST_RETRY = 60_000;

export interface KeyQueue {
  add(key: string, afterMilliseconds?: number): void;
  /** Resolves when what runs has ended; nothing more is begun. */
  close(): Promise<void>;
}

export function createKeyQueue(options: {
  name: string;
  workers: number;
  work: (key: string) => Promise<void>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}): KeyQueue {
  const ready = new Set<string>();
  const running = new Map<string, Promise<void>>();
  const timers = new Map<string, { timer: NodeJS.Timeout; at: number }>();
  const failures = new Map<string, number>();
  let closed = false;

  const add = (key: string, after = 0): void => {
    if (closed) return;
    if (after > 0) {
      const at = Date.now() + after;
      const known = timers.get(key);
      if (known && known.at <= at) return;
      clearTimeout(known?.timer);
      const timer = setTimeout(() => {
        timers.delete(key);
        add(key);
        // A key woken too early does no harm.
      }, timerOf(after));
      timer.unref();
      timers.set(key, { timer, at });
      return;
    }
    ready.add(key);
    next();
  };

  const next = (): void => {
    for (const key of ready) {
      if (closed || running.size >= options.workers) return;
      if (running.has(key)) continue;
      ready.delete(key);
      const run = runOne(key).finally(() => {
        running.delete(key);
        next();
      });
      running.set(key, run);
    }
  };

  const runOne = async (key: string): Promise<void> => {
    try {
      // In a turn of its own: changes that come together are one piece of work.
      await Promise.resolve();
      await options.work(key);
      failures.delete(key);
    } catch (error) {
      if (closed) return;
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      // Conflicts are how writers meet; only what stays wrong is worth a line.
      if (count === 3 || count % 100 === 0)
        options.log('warn', `The ${options.name} controller failed and tries again`, { key, count, error });
      add(key, Math.min(LAST_RETRY, FIRST_RETRY * 2 ** (count - 1)));
    }
  };

  return {
    add,
    close: async () => {
      closed = true;
      ready.clear();
      for (const { timer } of timers.values()) clearTimeout(timer);
      timers.clear();
      await Promise.all(running.values());
    },
  };
}
