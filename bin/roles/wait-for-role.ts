import { watch } from 'node:fs';
import type { Instance } from '../instance.ts';
import { type Role, isReady } from '../supervise.ts';

/** Resolves when another role of the instance said that it is ready; at once where it is. */
export function waitForRole(instance: Instance, role: Role, signal: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const look = (): void => {
      if (!isReady(instance, role)) return;
      watcher.close();
      done();
    };
    const watcher = watch(instance.runDirectory, look);
    signal.addEventListener('abort', () => {
      watcher.close();
      fail(signal.reason as Error);
    });
    look();
  });
}
