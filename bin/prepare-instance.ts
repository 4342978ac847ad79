/**
 * Chooses what an instance has, under a lock for the whole host: looks at the claims of every instance that has run since the
 * machine started (`/run/sampan/<name>/instance.json`), at the host's routes and at its listening ports.
 */
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Risk } from '#engine/engine.ts';
import { defaultCni } from '#engine/network/cni/cni.ts';
import { readNetworkConfig } from '#engine/network/cni/config.ts';
import { hostHasIpv6 } from '#engine/network/ipv6-host.ts';
import { podRanges6 } from '#engine/network/pod-ipv6.ts';
import { freePort, portIsFree } from '#lib/ports.ts';
import { hostRoutes, overlaps } from '#lib/routes.ts';
import { finishRestore } from './backup/finish.ts';
import { HostError } from './host-error.ts';
import {
  type Instance,
  instanceDirectories,
  type InstanceFlags,
  instanceText,
  keepInstance,
  parseInstance,
  readInstance,
  replaceFile,
  runRoot,
} from './instance.ts';
import { lockHost } from './instance-lock.ts';
import { parsePool } from './load-balancer-pool.ts';
import { mergedNodeFlags } from './node-flags.ts';
import { chooseStore } from './store/settings.ts';
import { tcpPortsOf } from './tcp-ports.ts';

const slots = 64;

/**
 * Sets the instance up where it is new, or checks and refreshes what was chosen.
 * @param check  before anything is written down
 */
export async function prepareInstance(
  flags: InstanceFlags,
  check: (instance: Instance) => Promise<void> = async () => undefined,
): Promise<Instance> {
  const { name, dataDirectory, runDirectory } = instanceDirectories(flags);
  finishRestore(dataDirectory);
  const known = readInstance(flags);
  const own = { name: known?.name ?? name, id: known?.id ?? randomUUID() };
  const store = chooseStore(flags, known && { dataDirectory, store: known.store }, own);
  const node = mergedNodeFlags(flags, known?.node);
  mkdirSync(dataDirectory, { recursive: true, mode: 0o711 });
  mkdirSync(runDirectory, { recursive: true, mode: 0o711 });
  chmodSync(dataDirectory, 0o711);
  const release = await lockHost();
  try {
    const others = claims(name);
    const running = existsSync(join(runDirectory, 'instance.json'));
    const slot = known && (running || !others.some((o) => o.slot === known.slot)) ? known.slot : freeSlot(others);
    const claimed = new Set(others.flatMap((o) => Object.values(o.ports)));
    const port = (which: keyof Instance['ports'], flag: string | undefined, preferred: number[]): Promise<number> =>
      choosePort({ which, flag, preferred, claimed, current: known?.ports[which], running });
    const ranges = { ...networkOf(slot), ...dualStackOf(flags, name, known) };
    const instance: Instance = {
      ...own,
      dataDirectory,
      runDirectory,
      domain: checkDomain(flags.domain ?? process.env.SAMPAN_DOMAIN ?? known?.domain ?? defaultDomain(name)),
      nodeName: known?.nodeName ?? nodeNameOf(hostname()),
      ports: {
        http: await port('http', flags.http ?? process.env.SAMPAN_HTTP, [80, 8080]),
        https: await port('https', flags.https ?? process.env.SAMPAN_HTTPS, [443, 8443]),
        kubernetes: await port('kubernetes', flags.kubernetes ?? process.env.SAMPAN_KUBERNETES, [6443]),
        registry: await port('registry', flags.registry ?? process.env.SAMPAN_REGISTRY, [5000]),
        ssh: await port('ssh', flags.ssh ?? process.env.SAMPAN_SSH, [2222]),
        platform: await port('platform', undefined, []),
        uaa: await port('uaa', undefined, []),
        logCache: await port('logCache', undefined, []),
        agent: await port('agent', undefined, []),
        bus: await port('bus', undefined, []),
      },
      network: {
        ...ranges,
        ...cniOf(flags, known),
        ...loadBalancerPoolOf(flags, ranges, known),
      },
      ...hostPathsOf(flags, known),
      ...risksOf(flags, known),
      ...sysctlsOf(flags, known),
      ...outboundOf(flags, known),
      ...tcpPortsOf(flags.tcpPorts ?? process.env.SAMPAN_TCP_PORTS, known),
      idRange: { first: 65536 * (8192 + slot * 512), length: 65536 * 512 },
      slot,
      ...(node === undefined ? {} : { node }),
      ...(store === undefined ? {} : { store }),
    };
    await check(instance);
    keepInstance(instance);
    replaceFile(join(runDirectory, 'instance.json'), instanceText(instance));
    return instance;
  } finally {
    release();
  }
}

function claims(name: string): Instance[] {
  if (!existsSync(runRoot)) return [];
  return readdirSync(runRoot, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== name)
    .map((entry) => parseInstance(join(runRoot, entry.name, 'instance.json')))
    .filter((instance) => instance !== undefined);
}

function networkOf(slot: number): Instance['network'] {
  return {
    clusterCidr: `10.${96 + slot}.0.0/16`,
    podCidr: `10.${96 + slot}.0.0/24`,
    serviceCidr: `10.${160 + slot}.0.0/16`,
    // For networks of users: 64 of 256 addresses each.
    networkPool: `172.${16 + (slot >> 2)}.${(slot & 3) * 64}.0/18`,
  };
}

function loadBalancerPoolOf(
  { loadBalancerPool }: InstanceFlags,
  { clusterCidr, serviceCidr, ipv6 }: Instance['network'],
  known: Instance | undefined,
): Pick<Instance['network'], 'loadBalancerPool'> {
  const pool =
    loadBalancerPool === undefined
      ? (known?.network.loadBalancerPool ?? [])
      : parsePool(
          loadBalancerPool,
          [clusterCidr, serviceCidr, ipv6?.clusterCidr ?? [], ipv6?.serviceCidr ?? []].flat(),
        );
  return pool.length === 0 ? {} : { loadBalancerPool: pool };
}

/** Chosen once: Services keep their addresses. */
function dualStackOf(
  { dualStack = process.env.SAMPAN_DUAL_STACK }: InstanceFlags,
  name: string,
  known: Instance | undefined,
): Pick<Instance['network'], 'ipv6'> {
  if (dualStack !== undefined && !['on', 'off'].includes(dualStack))
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(dualStack)} as --dual-stack: it is neither on nor off.`,
      'Give --dual-stack on for pods with IPv6 beside IPv4.',
    );
  const before = known?.network.ipv6;
  if (dualStack === 'off' || (dualStack === undefined && before === undefined)) return {};
  if (!hostHasIpv6())
    throw new HostError(
      'invalid-flag',
      'Cannot give pods IPv6: it is turned off on this machine.',
      'Turn it on with `sysctl -w net.ipv6.conf.all.disable_ipv6=0`, or say --dual-stack off.',
    );
  return { ipv6: before ?? podRanges6(name) };
}

function cniOf({ cniConfig, cniBin }: InstanceFlags, known: Instance | undefined): Pick<Instance['network'], 'cni'> {
  const before = known?.network.cni;
  const configDirectory = cniConfig ?? before?.configDirectory ?? '';
  if (configDirectory === '') return {};
  const binDirectories = kept(cniBin, before ? [...before.binDirectories] : [...defaultCni.binDirectories]);
  const relative = [configDirectory, ...binDirectories].find((path) => !path.startsWith('/'));
  if (relative !== undefined)
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(relative)} for CNI: it is not an absolute path.`,
      'Give directories such as --cni-config /etc/cni/net.d --cni-bin /opt/cni/bin.',
    );
  try {
    if (cniConfig !== undefined) readNetworkConfig(configDirectory);
  } catch (cause) {
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(configDirectory)} as --cni-config: ${(cause as Error).message}.`,
      'Put a network configuration (.conflist) into the directory, or say --cni-config "" for the built-in network.',
      { cause },
    );
  }
  return { cni: { configDirectory, binDirectories } };
}

function kept(given: string[] | undefined, before: string[] | undefined): string[] {
  return given?.filter((text) => text !== '') ?? before ?? [];
}

const allRisks: readonly Risk[] = ['unconfined', 'host-namespaces', 'privileged'];

function risksOf({ allowRisk }: InstanceFlags, known: Instance | undefined): Pick<Instance, 'risks'> {
  const risks = kept(allowRisk, known?.risks).map((text) => {
    const risk = allRisks.find((one) => one === text);
    if (risk !== undefined) return risk;
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(text)} in --allow-risk: there is no such risk.`,
      `Name one of ${allRisks.join(', ')}.`,
    );
  });
  return risks.length === 0 ? {} : { risks };
}

function sysctlsOf({ allowSysctl }: InstanceFlags, known: Instance | undefined): Pick<Instance, 'sysctls'> {
  const sysctls = kept(allowSysctl, known?.sysctls);
  return sysctls.length === 0 ? {} : { sysctls };
}

function outboundOf({ allowOutbound }: InstanceFlags, known: Instance | undefined): Pick<Instance, 'outbound'> {
  const outbound = kept(allowOutbound, known?.outbound);
  const wrong = outbound.find((range) => !isRange(range));
  if (wrong !== undefined)
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(wrong)} in --allow-outbound: it is no range of addresses.`,
      'Give ranges such as --allow-outbound 192.0.2.10/32.',
    );
  return outbound.length === 0 ? {} : { outbound };
}

function isRange(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const most = { 4: 32, 6: 128 }[isIP(address)];
  return (
    most !== undefined && bits !== undefined && /^\d{1,3}$/.test(bits) && Number(bits) <= most && more.length === 0
  );
}

function hostPathsOf({ allowHostPath }: InstanceFlags, known: Instance | undefined): Pick<Instance, 'hostPaths'> {
  const paths = kept(allowHostPath, known?.hostPaths);
  const relative = paths.find((path) => !path.startsWith('/'));
  if (relative !== undefined)
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(relative)} in --allow-host-path: it is not an absolute path.`,
      'Give directories such as --allow-host-path /srv/data.',
    );
  return paths.length === 0 ? {} : { hostPaths: paths };
}

function freeSlot(others: Instance[]): number {
  const routes = hostRoutes();
  for (let slot = 0; slot < slots; slot++) {
    if (others.some((other) => other.slot === slot)) continue;
    const { clusterCidr, serviceCidr } = networkOf(slot);
    if (routes.some((route) => overlaps(route, clusterCidr) || overlaps(route, serviceCidr))) continue;
    return slot;
  }
  throw new HostError(
    'no-range',
    'No free address range is left for the pods: every candidate below 10.96.0.0/10 and 10.160.0.0/10 is in use.',
    'Remove an instance with `sampan down --purge`, or a route that covers these ranges.',
  );
}

async function choosePort(options: {
  which: string;
  flag: string | undefined;
  preferred: number[];
  claimed: Set<number>;
  current: number | undefined;
  running: boolean;
}): Promise<number> {
  const { which, flag, preferred, claimed, current, running } = options;
  const asked = flag === undefined ? undefined : Number(flag);
  if (asked !== undefined && (!Number.isInteger(asked) || asked < 0 || asked > 65535)) {
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(flag)} as --${which}: a port is a number from 0 to 65535.`,
      'Give a port, or 0 for a free one.',
    );
  }
  const wanted = asked === 0 ? current : (asked ?? current);
  if (wanted !== undefined && wanted === current && running) return wanted;
  const free = async (port: number): Promise<boolean> => !claimed.has(port) && (await portIsFree(port));
  if (wanted !== undefined && (await free(wanted))) return take(wanted, claimed);
  if (asked) {
    throw new HostError(
      'port-taken',
      `Port ${asked} (--${which}) is taken by another program.`,
      `Stop that program, or choose another port: --${which} 0 picks a free one.`,
    );
  }
  for (const port of asked === 0 ? [] : preferred) if (await free(port)) return take(port, claimed);
  for (;;) {
    const port = await freePort();
    if (!claimed.has(port)) return take(port, claimed);
  }
}

function take(port: number, claimed: Set<number>): number {
  claimed.add(port);
  return port;
}

function defaultDomain(name: string): string {
  return name === 'sampan' ? 'sampan.localhost' : `${name}.sampan.localhost`;
}

function checkDomain(domain: string): string {
  const lower = domain.toLowerCase();
  if (lower.length > 200 || !/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/.test(lower)) {
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(domain)} as --domain: it is no DNS name of two labels or more.`,
      'Give a name such as apps.example.com.',
    );
  }
  return lower;
}

function nodeNameOf(host: string): string {
  return (
    host
      .toLowerCase()
      .replaceAll(/[^a-z0-9.-]+/g, '-')
      .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '') || 'node'
  );
}
