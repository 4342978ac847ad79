import type { Writable } from 'node:stream';

/** Resolves when it takes more, or never will: it is closed, or who waits has gone. Leaves no listener behind. */
export async function drained(writable: Writable, gone?: AbortSignal): Promise<void> {
  if (!writable.writableNeedDrain || writable.destroyed || gone?.aborted === true) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const waits = (): void => resolve();
  const events = ['drain', 'close'];
  for (const event of events) writable.on(event, waits);
  gone?.addEventListener('abort', waits);
  await promise;
  for (const event of events) writable.off(event, waits);
  gone?.removeEventListener('abort', waits);
}
