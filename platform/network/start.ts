/** Keeps the NetworkPolicies of all spaces: see `network.ts`. Level-triggered: every change looks at everything again. */
import { lookup } from 'node:dns/promises';
import { isIPv4 } from 'node:net';
import { coalesced } from '#lib/coalesced.ts';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { sharedInformer } from '#cluster/client/shared-informer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { networkPolicies, nodes as nodeResource } from '#cluster/kinds/resources.ts';
import type { Node } from '#cluster/kinds/types/core.ts';
import type { NetworkPolicy } from '#cluster/kinds/types/networking.ts';
import { equivalent } from '../resources/definitions.ts';
import type { Informers } from '../resources/informers.ts';
import { services } from '../resources/kubernetes.ts';
import {
  appConnections,
  apps,
  domains,
  routes,
  type SecurityGroup,
  securityGroups,
  type Space,
  spaces,
} from '../resources/types.ts';
import { writeNames } from './names.ts';
import type { NetworkOptions, RunningNetwork } from './network.ts';
import { type Connection, connectionPolicies, ROOM_LABEL, spacePolicies, type Surroundings } from './policies.ts';
import { parseRange } from './ranges.ts';
import { type Egress, egressOf } from './rules.ts';

const PERIOD_MILLISECONDS = 10 * 60_000;
const RETRY_MILLISECONDS = 2_000;

export function startNetwork(options: NetworkOptions & { informers: Informers }): RunningNetwork {
  const { informers, log } = options;
  const { client } = informers;
  const onError = (error: unknown): void =>
    log('warn', 'a watch for network policies broke off; it is tried again', { error: String(error) });
  const nodes = sharedInformer(client, nodeResource, {}, onError);
  const kept = createInformer(client, networkPolicies, { labelSelector: ROOM_LABEL, onError });
  const buildTargets = new Map<string, { ip: string; port: number }[]>();
  let closed = false;
  let retry: NodeJS.Timeout | undefined;

  const wanted = (): NetworkPolicy[] => {
    const nodeAddresses = [...new Set([...options.hostAddresses, ...nodes.list().flatMap(nodeAddressesOf)])].sort();
    const own = [...options.own, ...nodeAddresses].flatMap((text) => parseRange(text) ?? []);
    const around: Surroundings = {
      nodeAddresses,
      routerPorts: options.routerPorts,
      buildTargets: [...buildTargets.values()].flat(),
    };
    const groups = informers.of(securityGroups).list();
    const egress = memo(
      (counting: Stored<SecurityGroup>[]): Egress =>
        egressOf(
          counting.flatMap(({ spec }) => spec.rules),
          own,
        ),
    );
    const ofSpaces = liveSpaces(informers).flatMap(({ metadata, spec }) => {
      const counting = (way: 'running' | 'staging') => groups.filter((group) => counts(group, metadata.name, way));
      const both = { running: egress(counting('running')), staging: egress(counting('staging')) };
      return spacePolicies(spec.namespace, both, around);
    });
    return [...ofSpaces, ...connectionPolicies(connections(informers))];
  };

  const write = coalesced(async () => {
    if (closed) return;
    const all = wanted();
    const names = new Set(all.map(keyOf));
    for (const policy of all) await put(policy);
    for (const policy of kept.list()) if (!names.has(keyOf(policy))) await remove(policy);
    await writeNames(informers);
  });
  const put = async (policy: NetworkPolicy): Promise<void> => {
    const { name = '', namespace = '' } = policy.metadata;
    const current = kept.get(name, namespace);
    const same =
      current && equivalent({ ...current.metadata, spec: current.spec }, { ...policy.metadata, spec: policy.spec });
    if (same) return;
    const write = current ? client.update(networkPolicies, policy) : client.create(networkPolicies, policy);
    // Its namespace goes, or is not there yet: it is looked at again with the next change.
    const stored = await orUndefined(write, 403, 404);
    if (stored) await kept.reached(stored.metadata.resourceVersion, AbortSignal.timeout(10_000));
  };
  const remove = async ({ metadata: { name, namespace = '', uid } }: Stored<NetworkPolicy>): Promise<void> => {
    await client.delete(networkPolicies, name, { namespace, preconditions: { uid } }).catch((error: unknown) => {
      if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
    });
  };
  const change = (): void => {
    clearTimeout(retry);
    if (closed) return;
    write().catch((error: unknown) => {
      if (closed) return;
      log('warn', 'network policies of spaces could not be written; it is tried again', { error: String(error) });
      retry = setTimeout(change, RETRY_MILLISECONDS);
    });
  };
  const lookUpBuildHosts = async (): Promise<void> => {
    for (const { host, port } of options.buildHosts) {
      try {
        const found = isIPv4(host) ? [{ address: host }] : await lookup(host, { all: true, family: 4 });
        const ips = found.map(({ address }) => address).sort();
        buildTargets.set(
          `${host} ${port}`,
          ips.map((ip) => ({ ip, port })),
        );
      } catch (error) {
        // What was found before stays: names come back.
        log('warn', 'A host that builds need has no address', { host, error: String(error) });
      }
    }
  };

  const begin = async (): Promise<void> => {
    await Promise.all([nodes.synced, kept.synced, informers.synced(), lookUpBuildHosts()]);
    stops.push(
      nodes.onChange((now, old) => {
        if (String(now && nodeAddressesOf(now)) !== String(old && nodeAddressesOf(old))) change();
      }),
      kept.onChange((now) => {
        // Somebody took it away.
        if (!now) change();
      }),
      ...[spaces, securityGroups, appConnections, domains, routes, services].map((resource) =>
        informers.of(resource as typeof securityGroups).onChange(change),
      ),
      informers.of(apps).onChange((now) => {
        if (!now) change();
      }),
    );
    await write();
  };
  const stops: (() => void)[] = [];
  const ready = begin();
  ready.catch((error: unknown) => {
    if (closed) return;
    log('warn', 'network policies of spaces are not written yet; it is tried again', { error: String(error) });
    retry = setTimeout(change, RETRY_MILLISECONDS);
  });
  const period = setInterval(() => void lookUpBuildHosts().then(change), PERIOD_MILLISECONDS);
  period.unref();
  return {
    ready,
    async close() {
      closed = true;
      clearInterval(period);
      clearTimeout(retry);
      for (const stop of stops) stop();
      nodes.close();
      kept.close();
      await write().catch(() => undefined);
    },
  };
}

function keyOf({ metadata }: NetworkPolicy): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function liveSpaces(informers: Informers): Stored<Space>[] {
  return informers
    .of(spaces)
    .list()
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

function counts({ spec }: Stored<SecurityGroup>, space: string, way: 'running' | 'staging'): boolean {
  return way === 'running'
    ? spec.globallyRunning || spec.runningSpaces.includes(space)
    : spec.globallyStaging || spec.stagingSpaces.includes(space);
}

/** Of apps that are both there. */
function connections(informers: Informers): Connection[] {
  const place = (guid: string) => {
    const app = informers.of(apps).byIndex('platform/guid', guid)[0];
    return app && { guid, namespace: app.metadata.namespace ?? '' };
  };
  return informers
    .of(appConnections)
    .list()
    .flatMap(({ spec }) => {
      const source = place(spec.app);
      const destination = place(spec.destination);
      return source && destination ? [{ source, destination, protocol: spec.protocol, ports: spec.ports }] : [];
    })
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** What its host's connections to pods come from: its own address, or the first of its range. */
function nodeAddressesOf(node: Stored<Node>): string[] {
  const ranges = [...new Set([node.spec?.podCIDR, ...(node.spec?.podCIDRs ?? [])])];
  const gateways = ranges.flatMap((cidr) => cidr?.replace(/\.0\/\d+$/, '.1') ?? []);
  const addresses = (node.status?.addresses ?? []).map(({ address }) => address);
  return [...new Set([...gateways, ...addresses])].filter((text) => isIPv4(text));
}

/** Most spaces have the same groups: each set of them is worked out once. */
function memo(work: (groups: Stored<SecurityGroup>[]) => Egress): (groups: Stored<SecurityGroup>[]) => Egress {
  const known = new Map<string, Egress>();
  return (groups) => {
    const sorted = groups.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    const key = sorted.map(({ metadata }) => metadata.name).join();
    const found = known.get(key) ?? work(sorted);
    known.set(key, found);
    return found;
  };
}
