/** Generated secrets of an instance: `<data>/secrets.json`, and the administrator's password in `<data>/admin-password`; both 0600. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BusPasswords } from '#platform/bus/bus.ts';
import type { Instance } from './instance.ts';

export interface Secrets {
  /** Passwords of the registry's own accounts: the platform may write, the node may read. */
  registry: { platform: string; node: string };
}

export function ensureSecrets(instance: Instance): Secrets {
  adminPassword(instance);
  return JSON.parse(
    once(
      join(instance.dataDirectory, 'secrets.json'),
      () => `${JSON.stringify({ registry: { platform: secret(), node: secret() } })}\n`,
    ),
  ) as Secrets;
}

/** Of the message bus, by role. Nothing kept depends on them: a backup leaves them out. */
export function busPasswords(instance: Instance): BusPasswords {
  mkdirSync(busDirectory(instance), { recursive: true, mode: 0o700 });
  const passwords = (): BusPasswords => ({ agent: secret(), platform: secret() });
  return JSON.parse(
    once(join(busDirectory(instance), 'passwords.json'), () => `${JSON.stringify(passwords())}\n`),
  ) as BusPasswords;
}

export function busDirectory(instance: Instance): string {
  return join(instance.dataDirectory, 'bus');
}

export function adminPasswordFile(instance: Instance): string {
  return join(instance.dataDirectory, 'admin-password');
}

export function adminPassword(instance: Instance): string {
  // Not one that begins with a dash: on a command line it would be an option.
  return once(adminPasswordFile(instance), () => `${secret().replace(/^-/, 'x')}\n`).trim();
}

function once(path: string, make: () => string): string {
  try {
    writeFileSync(path, make(), { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(path, 'utf8');
}

function secret(): string {
  return randomBytes(24).toString('base64url');
}
