/** The node: engine, registry, Docker API, the node agent and the node's network. */
import { join } from 'node:path';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { startAgent } from '#cluster/node/start.ts';
import { sourceAddress, sourceAddress6 } from '#lib/source-address.ts';
import { readCa, readPair } from '../certificates.ts';
import { keptSettings } from '../kept-engine-flags.ts';
import { nodeOptions } from '../node-flags.ts';
import { startNodeEngine } from '../node-engine.ts';
import { startNodeMetrics } from '../node-metrics.ts';
import { startNodeNetwork } from '../node-network.ts';
import type { RoleContext, RunningRole } from './role.ts';
import { waitForRole } from './wait-for-role.ts';

export async function startAgentRole({ instance, signal, log }: RoleContext): Promise<RunningRole> {
  const ca = readCa(instance);
  const onError = (what: string, error: unknown): void => log('error', what, { error: String(error) });
  const node = await startNodeEngine(instance, { ...keptSettings(instance, onError), log, onError });
  const { engine } = node;
  await waitForRole(instance, 'server', signal);
  const pair = readPair(instance, 'agent');
  const client = createClient(
    httpsTransport({
      url: `https://127.0.0.1:${instance.ports.kubernetes}`,
      ca,
      certificate: pair.certificate,
      key: pair.key,
    }),
  );
  const address = await sourceAddress();
  const address6 = instance.network.ipv6 && (await sourceAddress6());
  const directory = join(instance.dataDirectory, 'node');
  const network = startNodeNetwork({
    instance: instance.name,
    nodeName: instance.nodeName,
    address,
    network: instance.network,
    loadBalancerPool: instance.network.loadBalancerPool ?? [],
    localDomain: instance.domain,
    directory,
    engine,
    client,
    log,
  });
  const agent = await startAgent({
    nodeName: instance.nodeName,
    client,
    engine,
    address,
    ...(address6 !== undefined && { address6 }),
    port: instance.ports.agent,
    tls: { ...pair, clientCa: ca },
    dataDirectory: directory,
    policy: {
      hostPaths: instance.hostPaths ?? [],
      risks: instance.risks ?? [],
      unsafeSysctls: instance.sysctls ?? [],
      seccompDirectory: join(directory, 'seccomp'),
    },
    names: network.names,
    admit: network.admit,
    ...nodeOptions(instance.node ?? {}),
    staticPods: join(instance.dataDirectory, 'node', 'manifests'),
    log,
  });
  await Promise.all([agent.ready, network.ready]);
  const metrics = startNodeMetrics(instance, agent, { signal, log });
  return {
    async close() {
      await metrics.close();
      await agent.close();
      await network.close();
      await node.close();
    },
  };
}
