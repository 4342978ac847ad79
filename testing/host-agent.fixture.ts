/** A host's node, in a process of its own: joins its cluster, opens its engine, runs agent, overlay and services. Options as JSON. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { startOverlay } from '#cluster/network/overlay/start.ts';
import { removeServices, startServiceProxy } from '#cluster/network/services/start.ts';
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
}

const [, , mode, text = '{}'] = process.argv;
const { engine: base, ...node } = JSON.parse(text) as HostAgentOptions;
const log = (level: string, message: string, fields?: Record<string, unknown>): void => {
  if (level !== 'info') process.stderr.write(`${node.nodeName}: ${message} ${JSON.stringify(fields ?? {})}\n`);
};

async function start(): Promise<void> {
  const joined = await joinCluster({ ...node, signal: new AbortController().signal, log });
  const { podCidr } = joined;
  const engine = await openEngine({ ...base, network: { ...base.network, podCidr }, log });
  await addBusyboxImage(engine.images);
  const client = createClient(httpsTransport(joined.transport));
  const agent = await startAgent({
    nodeName: node.nodeName,
    client,
    engine,
    address: node.address,
    port: 0,
    tls: { ...joined.tls, clientCa: node.server.ca },
    dataDirectory: node.directory,
    leaseInterval: node.leaseInterval,
    log,
  });
  const overlay = startOverlay({
    client,
    nodeName: node.nodeName,
    own: { address: node.address, range: podCidr },
    clusterCidr: base.network.clusterCidr,
    engine,
    log,
  });
  const services = startServiceProxy({
    network: { instance: base.instance, ...base.network, podCidr },
    nodeName: node.nodeName,
    client,
    log,
  });
  await Promise.all([agent.ready, overlay.ready, services.ready]);
  process.stdout.write('ready\n');
}

if (mode === 'purge') {
  const podCidr = readFileSync(join(node.directory, 'pod-range'), 'utf8');
  await removeServices(base.instance);
  await purgeEngine({ ...base, network: { ...base.network, podCidr } });
} else await start();
