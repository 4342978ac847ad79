/**
 * An instance: one Sampan on this machine, told from others by its name. What was chosen for it (ports, address ranges,
 * id range; see `prepare-instance.ts`) is written once to `<data>/instance.json` and stays, so that addresses survive restarts and
 * reboots. Every command reads it: nothing is imported here that only its choosing needs.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Risk } from '#engine/engine.ts';
import type { CniOptions } from '#engine/network/cni/cni.ts';
import type { Ipv6Ranges } from '#engine/network/network.ts';
import { HostError } from './host-error.ts';
import type { NodeFlags } from './node-flags.ts';
import type { EtcdSettings, StoreFlags } from './store/settings.ts';

/** What the user said: flags, then `SAMPAN_*` variables, then defaults. */
export interface InstanceFlags extends StoreFlags, NodeFlags {
  name?: string;
  data?: string;
  domain?: string;
  http?: string;
  https?: string;
  kubernetes?: string;
  registry?: string;
  ssh?: string;
  /** `1024-1123`, or `none`. */
  tcpPorts?: string;
  /** CIDRs, with commas between; an empty text takes the pool away. */
  loadBalancerPool?: string;
  /** `on` or `off`. */
  dualStack?: string;
  /** A directory; an empty text goes back to the built-in network. */
  cniConfig?: string;
  /** Directories of plugins. */
  cniBin?: string[];
  /** Of these lists empty texts count for nothing. */
  allowHostPath?: string[];
  allowRisk?: string[];
  allowSysctl?: string[];
  allowOutbound?: string[];
}

export interface Instance {
  name: string;
  /** Of its own; a restore keeps it. */
  id: string;
  dataDirectory: string;
  runDirectory: string;
  domain: string;
  nodeName: string;
  ports: {
    http: number;
    https: number;
    kubernetes: number;
    registry: number;
    ssh: number;
    platform: number;
    uaa: number;
    logCache: number;
    agent: number;
    bus: number;
  };
  network: {
    clusterCidr: string;
    podCidr: string;
    serviceCidr: string;
    networkPool?: string;
    /** Pods and Services have IPv6 too. */
    ipv6?: Ipv6Ranges;
    /** Pods get their links by plugins. */
    cni?: CniOptions;
    /** CIDRs that Services of type LoadBalancer get their addresses from. */
    loadBalancerPool?: string[];
  };
  idRange: { first: number; length: number };
  /** Directories of this machine that pods may mount. */
  hostPaths?: string[];
  /** What of this machine pods may have. */
  risks?: Risk[];
  /** Kernel parameters beyond the safe ones that pods may set. */
  sysctls?: string[];
  /** Ranges of the platform's own addresses that URLs of its users may lead to. */
  outbound?: string[];
  /** For TCP routes, as they were said; absent: a hundred of its own. See `tcp-ports.ts`. */
  tcpPorts?: string;
  /** Of its node, as they were said. */
  node?: NodeFlags;
  /** Which of the host's ranges it has; 0 to 63. */
  slot: number;
  /** Where the cluster's state is; absent: in SQLite. */
  store?: EtcdSettings;
}

export const runRoot = '/run/sampan';

export function instanceName(flags: InstanceFlags): string {
  const name = flags.name ?? process.env.SAMPAN_NAME ?? 'sampan';
  if (!/^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$/.test(name)) {
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(name)} as --name: it must be 1 to 20 lower-case letters, digits and dashes, beginning with a letter.`,
      'Choose another name, for example --name staging.',
    );
  }
  return name;
}

export function instanceDirectories(flags: InstanceFlags): {
  name: string;
  dataDirectory: string;
  runDirectory: string;
} {
  const name = instanceName(flags);
  const data =
    flags.data ?? process.env.SAMPAN_DATA ?? (name === 'sampan' ? '/var/lib/sampan' : `/var/lib/sampan-${name}`);
  return { name, dataDirectory: resolve(data), runDirectory: join(runRoot, name) };
}

/** The instance as it was set up, or undefined where there is none. */
export function readInstance(flags: InstanceFlags): Instance | undefined {
  const { name, dataDirectory } = instanceDirectories(flags);
  const instance = parseInstance(join(dataDirectory, 'instance.json'));
  if (instance && instance.name !== name && (flags.name ?? process.env.SAMPAN_NAME)) {
    throw new HostError(
      'conflict',
      `The data directory ${dataDirectory} belongs to the instance ${JSON.stringify(instance.name)}, not to ${JSON.stringify(name)}.`,
      `Give --name ${instance.name}, or another --data.`,
    );
  }
  return instance;
}

/** As `readInstance`; an error where there is none. */
export function requireInstance(flags: InstanceFlags): Instance {
  const instance = readInstance(flags);
  if (instance) return instance;
  const { name, dataDirectory } = instanceDirectories(flags);
  throw new HostError(
    'no-instance',
    `There is no Sampan instance ${JSON.stringify(name)} in ${dataDirectory}.`,
    'Start one with `sampan up`, or name another with --name and --data.',
  );
}

/** @throws HostError `conflict` when something of it runs, or may run */
export function requireDown(flags: InstanceFlags): void {
  const { name, runDirectory } = instanceDirectories(flags);
  if (!existsSync(join(runDirectory, 'instance.json'))) return;
  throw new HostError(
    'conflict',
    `The instance ${name} is up.`,
    `Stop it with \`sampan --name ${name} down\`; its apps start again with the next up.`,
  );
}

export function instanceText(instance: Instance): string {
  return `${JSON.stringify(instance, null, 2)}\n`;
}

/** What was chosen for it, from now on. */
export function keepInstance(instance: Instance): void {
  replaceFile(join(instance.dataDirectory, 'instance.json'), instanceText(instance));
}

export function parseInstance(path: string): Instance | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR')
      return undefined;
    throw new HostError(
      'io',
      `Cannot read ${path}: ${(error as Error).message}.`,
      'Run as root, or name another --data.',
      { cause: error },
    );
  }
  try {
    return JSON.parse(text) as Instance;
  } catch (error) {
    throw new HostError(
      'io',
      `${path} is damaged: ${(error as Error).message}.`,
      'Put it back from a backup, or remove the instance with `sampan down --purge`.',
      { cause: error },
    );
  }
}

export function replaceFile(path: string, text: string): void {
  const aside = `${path}.${randomBytes(4).toString('hex')}`;
  writeFileSync(aside, text, { mode: 0o644, flush: true });
  renameSync(aside, path);
}
