/** Flags of `sampan engine` that are read before anything starts. */
import { readFileSync } from 'node:fs';
import { parseMirror } from '#engine/images/pull-through.ts';
import type { EngineOptions } from '#engine/options.ts';
import { HostError } from '../host-error.ts';

export interface RegistryFlags {
  mirror?: string[];
  registryAuth?: string;
  buildTimeout?: string;
}

export interface RegistrySettings {
  mirrors: NonNullable<EngineOptions['mirrors']>;
  registries: NonNullable<EngineOptions['registries']>;
  buildTimeoutMilliseconds?: number;
}

/** @throws HostError `invalid-flag` */
export function registryFlags({ mirror = [], registryAuth, buildTimeout }: RegistryFlags): RegistrySettings {
  const mirrors: Record<string, string> = {};
  for (const text of mirror) {
    try {
      const { prefix, host } = parseMirror(text);
      if (
        Object.keys(mirrors).some(
          (other) => `${prefix}/`.startsWith(`${other}/`) || `${other}/`.startsWith(`${prefix}/`),
        )
      )
        throw new Error(`there is another mirror at ${prefix}`);
      mirrors[prefix] = host;
    } catch (cause) {
      throw wrongFlag('--mirror', text, (cause as Error).message, 'docker.io, or internal=registry.example:5000');
    }
  }
  return {
    mirrors,
    registries: registryAuth === undefined ? {} : readLogins(registryAuth),
    ...(buildTimeout === undefined ? {} : { buildTimeoutMilliseconds: milliseconds('--build-timeout', buildTimeout) }),
  };
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

function milliseconds(flag: string, text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const found = Number(count) * (UNITS[unit] ?? 0);
  // What setTimeout can wait.
  if (found > 0 && found < 2 ** 31) return found;
  throw wrongFlag(flag, text, 'it is no number of seconds, minutes or hours, at most 24 days', '90s, 30m or 4h');
}

/** `auths` of docker's config.json: `auth` is name and password in base64. Logins that a helper keeps are not in it. */
function readLogins(file: string): NonNullable<EngineOptions['registries']> {
  const wrong = (why: string): HostError =>
    wrongFlag('--registry-auth', file, why, 'a file that docker login wrote, such as ~/.docker/config.json');
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw wrong(`it cannot be read as JSON: ${(cause as Error).message}`);
  }
  const { auths } = (document ?? {}) as { auths?: unknown };
  if (typeof auths !== 'object' || auths === null) throw wrong('it has no "auths"');
  const found: Record<string, { username: string; password: string }> = {};
  for (const [address, entry] of Object.entries(auths)) {
    const { auth } = (entry ?? {}) as { auth?: unknown };
    const text = typeof auth === 'string' ? Buffer.from(auth, 'base64').toString('utf8') : '';
    const colon = text.indexOf(':');
    if (colon < 1) throw wrong(`the login for ${address} is not in it (a credential helper may keep it)`);
    found[hostOf(address)] = { username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  return found;
}

/** `https://index.docker.io/v1/` is what clients call Docker Hub. */
function hostOf(address: string): string {
  const host = address.replace(/^https?:\/\//, '').split('/')[0] ?? '';
  return ['index.docker.io', 'registry-1.docker.io'].includes(host) ? 'docker.io' : host;
}

function wrongFlag(flag: string, value: string, why: string, example: string): HostError {
  return new HostError('invalid-flag', `Cannot use ${JSON.stringify(value)} as ${flag}: ${why}.`, `Give ${example}.`);
}
