/** A host's node, in a process of its own: joins its cluster, opens its engine, runs its agent and its network. Options as JSON. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeNodeNetwork, startNodeNetwork } from '#bin/node-network.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { joinCluster } from '#cluster/node/join.ts';
import { startAgent } from '#cluster/node/start.ts';
import { openEngine, purgeEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface HostAgentOptions {
  /** The range is the cluster's to give. */
  engine: Omit<EngineOptions, 'network'> & { network: Omit<EngineOptions['network'], 'podCidr'> };
  nodeName: string;
  address: string;
  directory: string;
  server: { url: string; ca: string };
  bootstrapToken: string;
  leaseInterval: number;
  loadBalancerPool?: string[];
  /** Of a cluster whose pods have IPv6. */
  ipv6?: { clusterCidr: string; serviceCidr: string };
}

/** What is the same on every host. */
export type HostNode = Omit<HostAgentOptions, 'engine' | 'nodeName' | 'address' | 'directory'>;

const [, , mode, text = '{}'] = process.argv;
const { engine: base, ...node } = JSON.parse(text) as HostAgentOptions;
const log = (level: string, message: string, fields?: Record<string, unknown>): void => {
  if (level !== 'info') process.stderr.write(`${node.nodeName}: ${message} ${JSON.stringify(fields ?? {})}\n`);
};

function networkOf(podCidr: string, podCidr6: string | undefined): EngineOptions['network'] {
  const six = node.ipv6 !== undefined && podCidr6 !== undefined ? { ipv6: { ...node.ipv6, podCidr: podCidr6 } } : {};
  return { ...base.network, podCidr, ...six };
}

async function start(): Promise<void> {
  const joined = await joinCluster({ ...node, signal: new AbortController().signal, log });
  const ranges = networkOf(joined.podCidr, joined.podCidr6);
  const engine = await openEngine({ ...base, network: ranges, log });
  await addBusyboxImage(engine.images);
  const client = createClient(httpsTransport(joined.transport));
  const network = startNodeNetwork({
    instance: base.instance,
    nodeName: node.nodeName,
    address: node.address,
    network: ranges,
    directory: node.directory,
    loadBalancerPool: node.loadBalancerPool ?? [],
    engine,
    client,
    log,
  });
  const agent = await startAgent({
    nodeName: node.nodeName,
    client,
    engine,
    address: node.address,
    port: 0,
    tls: { ...joined.tls, clientCa: node.server.ca },
    dataDirectory: node.directory,
    leaseInterval: node.leaseInterval,
    names: network.names,
    admit: network.admit,
    log,
  });
  await Promise.all([agent.ready, network.ready]);
  process.stdout.write('ready\n');
}

if (mode === 'purge') {
  const [podCidr = '', podCidr6] = readFileSync(join(node.directory, 'pod-range'), 'utf8').split('\n');
  await removeNodeNetwork(base.instance);
  await purgeEngine({ ...base, network: networkOf(podCidr, podCidr6) });
} else await start();
