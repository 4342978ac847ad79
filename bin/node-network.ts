/** The network plank of a node in the agent: names and policies, over one copy of the cluster's pods. */
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import { clusterDnsAddress } from '#cluster/network/dns/dns.ts';
import { startDns } from '#cluster/network/dns/start.ts';
import { createPodInformer } from '#cluster/network/pods.ts';
import type { ClusterNames } from '#cluster/node/pod-dns.ts';
import { podGateway } from './certificates.ts';
import type { Instance } from './instance.ts';
import type { RoleContext } from './roles/role.ts';

export interface NodeNetwork {
  names: ClusterNames;
  /** Resolves when names are answered. */
  ready: Promise<void>;
  /** What is in the kernel stays. */
  close(): Promise<void>;
}

const DOMAIN = 'cluster.local';

export function startNodeNetwork(instance: Instance, client: Client, log: RoleContext['log']): NodeNetwork {
  const { network, name } = instance;
  const server = clusterDnsAddress(network.serviceCidr);
  const onError = (error: unknown): void => log('warn', 'the network is tried again', { error: String(error) });
  const pods = createPodInformer(client, onError);
  const gateway = podGateway(instance);
  const dns = startDns({
    instance: name,
    domain: DOMAIN,
    clusterIp: server,
    gateway,
    ...network,
    // The router listens on every address of this host.
    localZones: [{ domain: instance.domain, address: gateway }],
    portFile: join(instance.dataDirectory, 'node', 'dns-port'),
    log,
    client,
    pods,
  });
  const ready = dns.then(() => undefined);
  // Who does not wait for `ready` must not die of it.
  ready.catch((error: unknown) => log('error', 'names are not answered', { error: String(error) }));
  return {
    names: { server, domain: DOMAIN },
    ready,
    async close() {
      pods.close();
      await dns.then((started) => started.close()).catch(() => undefined);
    },
  };
}
