/** The queue of the platform's controllers: patient with what fails, and quiet about what only collided. */
import { createWorkQueue, type WorkQueue } from '#lib/work-queue.ts';

const RETRY = { firstMilliseconds: 50, lastMilliseconds: 60_000 };

export function createKeyQueue(options: {
  name: string;
  workers: number;
  work: (key: string) => Promise<void>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}): WorkQueue {
  const { name, workers, work, log } = options;
  return createWorkQueue({
    workers,
    work,
    retry: RETRY,
    onFailure(key, error, { count }) {
      // Conflicts are how writers meet; only what stays wrong is worth a line.
      if (count === 3 || count % 100 === 0)
        log('warn', `The ${name} controller failed and tries again`, { key, count, error });
    },
  });
}
