import { once } from 'node:events';

/** Resolves when somebody interrupts this process. Waiting for a signal alone does not keep Node running. */
export async function untilInterrupted(): Promise<void> {
  const awake = setInterval(() => undefined, 2 ** 30);
  try {
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  } finally {
    clearInterval(awake);
  }
}
