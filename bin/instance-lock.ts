/** Who sets instances up, or takes them down, does it one after the other. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LockTimeout, lockFile } from '#lib/lock-file.ts';
import { HostError } from './host-error.ts';
import { type InstanceFlags, instanceName, runRoot } from './instance.ts';

/** One writer at a time on this host. */
export async function lockHost(): Promise<() => void> {
  mkdirSync(runRoot, { recursive: true, mode: 0o711 });
  return lockOrSay(join(runRoot, '.lock'));
}

/** One `up` or `down` of an instance at a time. */
export async function lockInstance(flags: InstanceFlags): Promise<() => void> {
  mkdirSync(runRoot, { recursive: true, mode: 0o711 });
  return lockOrSay(join(runRoot, `.lock-${instanceName(flags)}`));
}

async function lockOrSay(path: string): Promise<() => void> {
  try {
    return await lockFile(path, 120_000);
  } catch (error) {
    if (!(error instanceof LockTimeout)) throw error;
    throw new HostError(
      'conflict',
      `Another sampan (process ${error.holder}) is setting an instance up or taking one down, and does not finish.`,
      'Wait for it, or end it.',
      { cause: error },
    );
  }
}
