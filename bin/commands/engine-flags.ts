/** Flags of the engine, as `sampan engine` and `sampan up` take them: read and checked before anything starts. */
import { existsSync, readFileSync } from 'node:fs';
import type { Risk } from '#engine/engine.ts';
import { parseMirror } from '#engine/images/pull-through.ts';
import { defaultWatermarks } from '#engine/images/watermarks.ts';
import type { EngineOptions } from '#engine/options.ts';
import { findProgram } from '#lib/find-program.ts';
import { HostError } from '../host-error.ts';

interface RegistryFlags {
  /** `[PREFIX=]HOST`: see `engine/images/pull-through.ts`. */
  mirror?: string[];
  /** A file as `docker login` writes it, for pulls without credentials of their own. */
  registryAuth?: string;
  /** A number and its unit. */
  buildTimeout?: string;
}

/** Each of the first five names a risk that whoever may use the socket may then take; see `Risk` in `engine/engine.ts`. */
export interface EngineFlags extends RegistryFlags {
  /** Directories of the host that containers may mount and change. */
  allowBind?: string[];
  /** Devices of the host, or directories of them. */
  allowDevice?: string[];
  allowUnconfined?: boolean;
  allowHostNamespaces?: boolean;
  allowPrivileged?: boolean;
  /** OCI runtime: a name on the PATH or an absolute path. */
  runtime?: string;
  /** Watermarks of the disk, in percent. */
  diskHigh?: string;
  diskLow?: string;
  /** `HOST:PORT` of the Docker API over TCP, with client certificates; port 0 takes a free one. */
  tcp?: string;
}

interface RegistrySettings {
  mirrors: NonNullable<EngineOptions['mirrors']>;
  registries: NonNullable<EngineOptions['registries']>;
  buildTimeoutMilliseconds?: number;
}

export interface TcpAddress {
  host: string;
  port: number;
}

export type EngineSettings = RegistrySettings &
  Pick<EngineOptions, 'allowedBinds' | 'allowedDevices' | 'allowedRisks' | 'diskWatermarks' | 'runtime'> & {
    tcp?: TcpAddress;
  };

/** What was said, in the words of `startNodeEngine`. @throws HostError `invalid-flag` */
export function engineSettings(flags: EngineFlags): EngineSettings {
  const { allowBind = [], allowDevice = [], runtime, diskHigh, diskLow, tcp } = flags;
  return {
    allowedBinds: allowBind,
    allowedDevices: allowDevice,
    allowedRisks: risks(flags),
    ...registryFlags(flags),
    ...(tcp === undefined ? {} : { tcp: tcpAddress(tcp) }),
    ...(runtime === undefined ? {} : { runtime }),
    diskWatermarks: watermarks(diskHigh, diskLow),
  };
}

/** What they name is there now. @throws HostError `invalid-flag` */
export function requirePaths({ allowBind, allowDevice, runtime }: EngineFlags): void {
  requireEach('--allow-bind', allowBind, '/srv/data');
  requireEach('--allow-device', allowDevice, '/dev/fuse');
  if (runtime !== undefined && findProgram(runtime) === undefined)
    throw wrongFlag('--runtime', runtime, 'there is no such program on this machine', 'runc, or an absolute path');
}

function requireEach(flag: string, paths: readonly string[] = [], example: string): void {
  for (const path of paths) {
    if (path.startsWith('/') && existsSync(path)) continue;
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(path)} as ${flag}: it is not an absolute path of something that is there.`,
      `Give an absolute path, for example ${flag} ${example}.`,
    );
  }
}

function risks({ allowUnconfined, allowHostNamespaces, allowPrivileged }: EngineFlags): Risk[] {
  const flags: [Risk, boolean | undefined][] = [
    ['unconfined', allowUnconfined],
    ['host-namespaces', allowHostNamespaces],
    ['privileged', allowPrivileged],
  ];
  return flags.filter(([, given]) => given === true).map(([risk]) => risk);
}

/** An IPv6 address is in brackets. */
export function tcpAddress(text: string): TcpAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (host !== '' && port <= 65_535) return { host, port };
  throw new HostError(
    'invalid-flag',
    `Cannot use ${JSON.stringify(text)} as --tcp: it is not HOST:PORT.`,
    'Give an address of this machine and a port, for example --tcp 127.0.0.1:2376; port 0 takes a free one.',
  );
}

function watermarks(high?: string, low?: string): EngineOptions['diskWatermarks'] & object {
  const given = {
    ...(high === undefined ? {} : { highPercent: percent('--disk-high', high) }),
    ...(low === undefined ? {} : { lowPercent: percent('--disk-low', low) }),
  };
  const { highPercent, lowPercent } = { ...defaultWatermarks, ...given };
  if (lowPercent <= highPercent) return given;
  throw wrongFlag('--disk-low', String(lowPercent), `--disk-high is ${highPercent}, which is less`, 'a lower one');
}

function percent(flag: string, text: string): number {
  const found = Number(text);
  if (/^\d{1,3}$/.test(text) && found > 0 && found <= 100) return found;
  throw wrongFlag(flag, text, 'it is no percentage from 1 to 100', '85');
}

function registryFlags({ mirror = [], registryAuth, buildTimeout }: RegistryFlags): RegistrySettings {
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

export function milliseconds(flag: string, text: string): number {
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

export function wrongFlag(flag: string, value: string, why: string, example: string): HostError {
  return new HostError('invalid-flag', `Cannot use ${JSON.stringify(value)} as ${flag}: ${why}.`, `Give ${example}.`);
}
