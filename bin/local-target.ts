import { readFileSync } from 'node:fs';
import { CliError } from '#cli/errors.ts';
import { readConfig } from '#cli/session.ts';
import type { Target } from '#cli/target.ts';
import { caFile } from './certificates.ts';
import { endpoints } from './endpoints.ts';
import { type InstanceFlags, readInstance } from './instance.ts';
import { adminPassword } from './secrets.ts';

/**
 * Which platform the app commands speak to: the instance on this machine, whose router is dialled without DNS and where
 * root is the administrator; else the platform that was logged in to last.
 */
export function localTarget(flags: InstanceFlags): Target {
  const instance = readInstance(flags);
  if (instance) {
    return {
      api: endpoints(instance).api,
      dial: { domain: instance.domain, address: '127.0.0.1' },
      ca: readFileSync(caFile(instance), 'utf8'),
      ...(process.getuid?.() === 0 ? { login: () => ({ username: 'admin', password: adminPassword(instance) }) } : {}),
    };
  }
  const { current } = readConfig();
  if (current) return { api: current };
  throw new CliError(
    'There is no Sampan instance on this machine, and you are logged in to none.',
    'Start one with `sampan up`, or log in with `sampan login -a https://api.DOMAIN`.',
  );
}
