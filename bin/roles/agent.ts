/** The node: engine, registry, Docker API, the node agent and the rules of services. */
import { join } from 'node:path';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { startServiceProxy } from '#cluster/network/services/start.ts';
import { startAgent } from '#cluster/node/start.ts';
import { sourceAddress } from '#lib/source-address.ts';
import { readCa, readPair } from '../certificates.ts';
import { keptSettings } from '../kept-engine-flags.ts';
import { startNodeEngine } from '../node-engine.ts';
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
  const services = startServiceProxy({
    network: { instance: instance.name, ...instance.network },
    nodeName: instance.nodeName,
    client,
    loadBalancerPool: instance.network.loadBalancerPool ?? [],
    log,
  });
  const network = startNodeNetwork(instance, client, log);
  const agent = await startAgent({
    nodeName: instance.nodeName,
    client,
    engine,
    address: await sourceAddress(),
    port: instance.ports.agent,
    tls: { ...pair, clientCa: ca },
    dataDirectory: join(instance.dataDirectory, 'node'),
    policy: {
      hostPaths: instance.hostPaths ?? [],
      risks: instance.risks ?? [],
      unsafeSysctls: instance.sysctls ?? [],
      seccompDirectory: join(instance.dataDirectory, 'node', 'seccomp'),
    },
    names: network.names,
    staticPods: join(instance.dataDirectory, 'node', 'manifests'),
    log,
  });
  await Promise.all([agent.ready, services.ready, network.ready]);
  return {
    async close() {
      await agent.close();
      await services.close();
      await network.close();
      await node.close();
    },
  };
}
