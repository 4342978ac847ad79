/** `POST /build`: the query and the headers, checked and put into the build room's words. */
import { isIP } from 'node:net';
import type { IncomingHttpHeaders } from 'node:http';
import type { BuildRequest, Confinement } from '../build/build.ts';
import type { Limits } from '../engine.ts';
import { canonicalReference, parseReference } from '../images/reference.ts';
import { Fields, type Document } from './body.ts';
import { hubName } from './call.ts';
import { DockerError } from './errors.ts';

export type BuildWish = Omit<BuildRequest, 'context' | 'signal' | 'timeoutMilliseconds' | 'network'> & {
  network: 'default' | 'none' | { container: string };
  quiet: boolean;
  remote: string;
};

export const NO_BUILDKIT =
  "BuildKit's API is not implemented by this engine: use the classic builder, by DOCKER_BUILDKIT=0 in the client's environment";

export function readBuildRequest(query: URLSearchParams, headers: IncomingHttpHeaders): BuildWish {
  const text = (name: string): string => query.get(name) ?? '';
  const flag = (name: string, otherwise: boolean): boolean =>
    text(name) === '' ? otherwise : !['0', 'no', 'false', 'none'].includes(text(name).toLowerCase());
  refuse(query);
  const shm = number(query, 'shmsize');
  const confinement = readConfinement(headers[CONFINED_HEADER]);
  const target = text('target');
  const platform = text('platform').toLowerCase();
  if (platform !== '' && !/^linux(\/[a-z0-9]+){0,2}$/.test(platform))
    throw bad('platform', `${JSON.stringify(platform)} is not linux/ARCHITECTURE`);
  return {
    dockerfile: dockerfilePath(text('dockerfile')),
    remote: text('remote'),
    quiet: flag('q', false),
    tags: query
      .getAll('t')
      .filter((tag) => tag !== '')
      .map(tagName),
    useCache: !flag('nocache', false),
    pull: flag('pull', false),
    remove: { succeeded: flag('rm', true), failed: flag('forcerm', false) },
    buildArgs: new Map(
      Object.entries(document(query, 'buildargs') ?? {}).flatMap(([name, value]): [string, string][] => {
        if (value === null) return [];
        if (typeof value !== 'string') throw bad('buildargs', `${JSON.stringify(name)} is no string`);
        return [[name, value]];
      }),
    ),
    labels: new Fields({ labels: document(query, 'labels') ?? {} }).stringMap('labels'),
    ...(target === '' ? {} : { target }),
    ...(platform === '' ? {} : { platform }),
    network: network(text('networkmode')),
    hostAliases: query.getAll('extrahosts').flatMap(hostAliases),
    limits: { ...limits(query), ...confinement?.limits },
    ...(confinement === undefined ? {} : { confined: confinement.confined }),
    ...(shm === 0 ? {} : { sharedMemoryBytes: shm }),
    resourceLimits: new Fields({ ulimits: json(query, 'ulimits') ?? [] }).objects('ulimits').map((limit) => ({
      name: limit.text('Name'),
      soft: limit.integer('Soft'),
      hard: limit.integer('Hard'),
    })),
    credentials: credentials(headers['x-registry-config']),
  };
}

function refuse(query: URLSearchParams): void {
  const text = (name: string): string => query.get(name) ?? '';
  if (text('version') === '2' || text('remote') === 'client-session') throw new DockerError(400, NO_BUILDKIT);
  if (!['', '[]', 'null'].includes(text('outputs'))) throw bad('outputs', NO_BUILDKIT);
  if (!['', '0', 'false'].includes(text('squash')))
    throw new DockerError(400, 'squash is only supported with experimental mode');
  if (text('cgroupparent') !== '') throw bad('cgroupparent', 'the engine has cgroups of its own');
  for (const option of [...query.getAll('securityopt')].filter((one) => !['', '[]', 'null'].includes(one)))
    throw bad('securityopt', `${JSON.stringify(option)}: steps run under the default profile`);
  if (!['', 'default'].includes(text('isolation')))
    throw bad('isolation', `${JSON.stringify(text('isolation'))} is of Windows`);
}

function bad(field: string, why: string): DockerError {
  return new DockerError(400, `invalid parameter: ${field}: ${why}`);
}

function json(query: URLSearchParams, name: string): unknown {
  const text = query.get(name) ?? '';
  if (text === '' || text === 'null') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DockerError(400, `error reading ${name}: ${JSON.stringify(text.slice(0, 100))} is no JSON`, { cause });
  }
}

function document(query: URLSearchParams, name: string): Document | undefined {
  const value = json(query, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(name, 'it is no JSON object');
  return value as Document;
}

function number(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  if (text === '') return 0;
  const value = Number(text);
  if (!/^-?\d{1,16}$/.test(text) || !Number.isSafeInteger(value))
    throw bad(name, `${JSON.stringify(text)} is no whole number`);
  return value;
}

function dockerfilePath(text: string): string {
  const parts: string[] = [];
  for (const part of (text || 'Dockerfile').split('/')) {
    if (part === '..' && parts.pop() === undefined)
      throw new DockerError(400, `forbidden path outside the build context: ${text}`);
    if (part !== '' && part !== '.' && part !== '..') parts.push(part);
  }
  return parts.join('/');
}

function tagName(text: string): string {
  const reference = parseReference(hubName(text));
  if (reference.digest !== undefined) throw new DockerError(400, 'build tag cannot contain a digest');
  return canonicalReference(reference);
}

function network(mode: string): BuildWish['network'] {
  if (['', 'default', 'bridge'].includes(mode)) return 'default';
  if (mode === 'none') return 'none';
  if (mode.startsWith('container:')) return { container: mode.slice('container:'.length) };
  throw bad(
    'networkmode',
    `${JSON.stringify(mode)} is not supported for builds; known are default, none and container:CONTAINER`,
  );
}

function hostAliases(text: string): BuildWish['hostAliases'] {
  if (text === '') return [];
  const match = /^([^:=]+)[:=]\[?([^\]]+)\]?$/.exec(text);
  const [, name = '', ip = ''] = match ?? [];
  if (isIP(ip) === 0) throw bad('extrahosts', `${JSON.stringify(text)} is not of the form name:address`);
  return [{ ip, names: [name] }];
}

function limits(query: URLSearchParams): Limits {
  const found: Limits = {};
  const [memory, swap] = [number(query, 'memory'), number(query, 'memswap')];
  if (memory > 0) found.memoryBytes = memory;
  if (swap !== 0 && memory <= 0)
    throw new DockerError(400, 'You should always set the Memory limit when using Memoryswap limit, see usage');
  if (swap > 0 && swap < memory)
    throw new DockerError(400, 'Minimum memoryswap limit should be larger than memory limit, see usage');
  if (swap !== 0) found.memorySwapBytes = swap < 0 ? -1 : swap;
  const quota = number(query, 'cpuquota');
  if (quota > 0) found.cpuMillis = Math.max(1, Math.round((quota * 1000) / (number(query, 'cpuperiod') || 100_000)));
  const shares = number(query, 'cpushares');
  if (shares > 0) found.cpuShares = Math.max(2, Math.min(262_144, shares));
  const cores = query.get('cpusetcpus') ?? '';
  if (cores !== '') found.cpuset = cores;
  return found;
}

/**
 * Our own header, JSON in base64: a client that builds for somebody else says what that one may not have. It takes away, and
 * gives nothing.
 */
export const CONFINED_HEADER = 'x-sampan-confined';

function readConfinement(
  header: string | string[] | undefined,
): { confined: Confinement; limits: Pick<Limits, 'pids' | 'diskBytes'> } | undefined {
  if (header === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(String(header), 'base64').toString('utf8'));
  } catch (cause) {
    throw new DockerError(400, `invalid ${CONFINED_HEADER} header: it is no JSON in base64`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(CONFINED_HEADER, 'it is no JSON object');
  const fields = new Fields(value as Document);
  const [pids, diskBytes] = [fields.integer('pids'), fields.integer('diskBytes')];
  return {
    confined: {
      cacheScope: fields.text('cacheScope'),
      refused: fields.strings('refused') ?? [],
      allowed: fields.strings('allowed') ?? [],
    },
    limits: {
      ...(pids > 0 ? { pids } : {}),
      ...(diskBytes > 0 ? { diskBytes } : {}),
    },
  };
}

/** By registry; Docker Hub's has an address of old. */
function credentials(header: string | string[] | undefined): BuildWish['credentials'] {
  let value: unknown;
  try {
    value = typeof header === 'string' ? JSON.parse(Buffer.from(header, 'base64').toString('utf8') || '{}') : {};
  } catch (cause) {
    throw new DockerError(400, 'invalid X-Registry-Config header: it is no JSON in base64', { cause });
  }
  const known = new Map(
    Object.entries((value ?? {}) as Record<string, { username?: unknown; password?: unknown } | null>).map(
      ([address, account]) => [hostOf(address), account] as const,
    ),
  );
  return (host) => {
    const { username, password } = known.get(host) ?? {};
    return typeof username === 'string' && typeof password === 'string' && username !== ''
      ? { username, password }
      : undefined;
  };
}

function hostOf(address: string): string {
  const host = address.replace(/^https?:\/\//, '').split('/')[0] ?? '';
  return host === 'index.docker.io' ? 'docker.io' : host;
}
