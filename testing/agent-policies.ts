/** The policies of a fixture's node, with the pods that they follow. */
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { createPodInformer } from '#cluster/network/pods.ts';
import type { NetworkPolicies, PolicyOptions } from '#cluster/network/policy/policy.ts';
import { startPolicies } from '#cluster/network/policy/start.ts';
import type { AgentApiFixture } from './agent-api-fixture.ts';

export function openPolicies(
  { transport, network, agent }: AgentApiFixture,
  more: Pick<PolicyOptions, 'families'> = {},
): NetworkPolicies {
  const client = createClient(httpsTransport(transport));
  const pods = createPodInformer(client, console.error);
  const policies = startPolicies({
    client,
    pods,
    instance: network.instance,
    nodeName: agent.nodeName,
    resolver: network.serviceCidr.replace(/0\/24$/, '10'),
    log: (level, message, fields) => level === 'error' && console.error(message, fields),
    ...more,
  });
  return {
    ...policies,
    async close() {
      await policies.close();
      pods.close();
    },
  };
}
