import { readFileSync } from 'node:fs';
import { CliError } from '#cli/errors.ts';
import { readConfig, readSession } from '#cli/session.ts';
import type { Target } from '#cli/target.ts';
import { caFile } from './certificates.ts';
import { endpoints } from './endpoints.ts';
import { type Instance, type InstanceFlags, readInstance } from './instance.ts';
import { adminPassword } from './secrets.ts';

/**
 * Which platform the app commands speak to: the instance on this machine, whose router is dialled without DNS and where
 * root is the administrator; else the platform that was logged in to last.
 * @param asked  the API of the one to speak to, whatever there is
 */
export function localTarget(flags: InstanceFlags, asked?: string): Target {
  const named = asked?.replace(/\/$/, '');
  const instance = readInstance(flags);
  const own = instance && targetOf(instance);
  if (own && (named === undefined || named === own.api)) return own;
  const api = named ?? readConfig().current;
  if (api !== undefined) {
    const { ca } = readSession(api);
    return { api, ...(ca === undefined ? {} : { ca }) };
  }
  throw new CliError(
    'There is no Sampan instance on this machine, and you are logged in to none.',
    'Start one with `sampan up`, or log in with `sampan login -a https://api.DOMAIN`.',
  );
}

function targetOf(instance: Instance): Target {
  return {
    api: endpoints(instance).api,
    dial: { domain: instance.domain, address: '127.0.0.1' },
    ca: readFileSync(caFile(instance), 'utf8'),
    ...(process.getuid?.() === 0 ? { login: () => ({ username: 'admin', password: adminPassword(instance) }) } : {}),
  };
}
