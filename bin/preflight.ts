import { HostError } from './host-error.ts';
import type { InstanceFlags } from './instance.ts';

export function requireRoot(what: string): void {
  if (process.getuid?.() === 0) return;
  throw new HostError(
    'not-root',
    `${what} needs root: containers, networks and ports below 1024 are made by it.`,
    'Run the command as root, for example with sudo.',
  );
}

/** Everything without which `up` cannot work, before anything is changed. */
export function checkHost(_flags: InstanceFlags): void {
  requireRoot('Starting the platform');
}
