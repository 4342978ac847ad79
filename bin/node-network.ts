/** The network plank of a node, beside its agent: ways to other hosts, rules of services, names. The same on every host of a cluster. */
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import { clusterDnsAddress } from '#cluster/network/dns/dns.ts';
import { startDns } from '#cluster/network/dns/start.ts';
import type { OverlayPeer } from '#cluster/network/overlay/overlay.ts';
import { startOverlay } from '#cluster/network/overlay/start.ts';
import { createPodInformer } from '#cluster/network/pods.ts';
import { startPolicies } from '#cluster/network/policy/start.ts';
import type { NetworkPolicies } from '#cluster/network/policy/policy.ts';
import { removeServices, startServiceProxy } from '#cluster/network/services/start.ts';
import { purgeTables } from '#cluster/network/tables.ts';
import type { ClusterNames } from '#cluster/node/pod-dns.ts';
import type { OpenedEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { firstAddress } from './certificates.ts';
import type { RoleContext } from './roles/role.ts';

export interface NodeNetworkOptions {
  instance: string;
  nodeName: string;
  /** Of this host, where others reach it. */
  address: string;
  /** What the engine was opened with; without an overlay this is the only host. */
  network: EngineOptions['network'];
  loadBalancerPool?: readonly string[];
  /** Names below it lead to this host. */
  localDomain?: string;
  /** Keeps what must be the same after a restart. */
  directory: string;
  engine: OpenedEngine;
  client: Client;
  log: RoleContext['log'];
}

export interface NodeNetwork {
  names: ClusterNames;
  admit: NetworkPolicies['admit'];
  /** Resolves when names are answered, policies hold, other hosts are known, and every Service has its rules. */
  ready: Promise<void>;
  /** What is in the kernel stays. */
  close(): Promise<void>;
}

const DOMAIN = 'cluster.local';

export function startNodeNetwork(options: NodeNetworkOptions): NodeNetwork {
  const { instance, nodeName, network, engine, client, log } = options;
  const onError = (error: unknown): void => log('warn', 'the network is tried again', { error: String(error) });
  const pods = createPodInformer(client, onError);
  const server = clusterDnsAddress(network.serviceCidr);
  const gateway = firstAddress(network.podCidr);
  // Where this host has no IPv6 its pods have none, whatever the cluster has.
  const families =
    network.ipv6 === undefined || engine.info().bridge.ipv6 === undefined ? [4 as const] : [4 as const, 6 as const];
  const dns = startDns({
    instance,
    domain: DOMAIN,
    clusterIp: server,
    gateway,
    ...network,
    // The router listens on every address of this host.
    localZones: options.localDomain === undefined ? [] : [{ domain: options.localDomain, address: gateway }],
    portFile: join(options.directory, 'dns-port'),
    log,
    client,
    pods,
  });
  const services = startServiceProxy({
    network: { instance, ...network },
    nodeName,
    client,
    loadBalancerPool: options.loadBalancerPool ?? [],
    announce: (addresses) => engine.announce(addresses),
    log,
  });
  const policies = startPolicies({ instance, nodeName, families, resolver: server, log, client, pods });
  const overlay = network.overlay && startOverlay({ ...options, own: ownPeer(options), ...network });
  const ready = Promise.all([dns, policies.ready, services.ready, overlay?.ready]).then(() => undefined);
  // Who does not wait for `ready` must not die of it.
  ready.catch((error: unknown) => log('error', 'the network is not ready', { error: String(error) }));
  return {
    names: { server, domain: DOMAIN },
    admit: policies.admit,
    ready,
    async close() {
      pods.close();
      const names = dns.then((started) => started.close()).catch(() => undefined);
      await Promise.all([names, policies.close(), services.close(), overlay?.close()]);
    },
  };
}

function ownPeer({ address, network }: NodeNetworkOptions): OverlayPeer {
  return { address, range: network.podCidr, ...(network.ipv6 && { range6: network.ipv6.podCidr }) };
}

/** Leaves nothing of a node whose agent has ended; the ways to other hosts are the engine's. Idempotent. */
export async function removeNodeNetwork(instance: string): Promise<void> {
  await removeServices(instance);
  await purgeTables(instance);
}
