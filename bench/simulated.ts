/** Simulated nodes and pods: objects in the API that no agent stands behind, so that only the control plane is measured. */
import type { Client } from '#cluster/client/client.ts';
import { nodes, pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';

const zones = 3;
/** Writes under way at once. */
const writers = 64;

/** Runs the work for 0, 1, … `count - 1`, so many at a time. */
export async function inParallel(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(writers, count) }, async () => {
      for (let index = next++; index < count; index = next++) await work(index);
    }),
  );
}

export function simulatedNodeName(index: number): string {
  return `node-${String(index).padStart(5, '0')}`;
}

export async function createSimulatedNodes(client: Client, count: number): Promise<void> {
  const resources = { cpu: '32', memory: '128Gi', pods: '110', 'ephemeral-storage': '500Gi' };
  await inParallel(count, (index) => {
    const name = simulatedNodeName(index);
    const labels = {
      'kubernetes.io/hostname': name,
      'topology.kubernetes.io/zone': `zone-${index % zones}`,
    };
    return client.create(nodes, {
      metadata: { name, labels },
      status: { capacity: resources, allocatable: resources, conditions: [{ type: 'Ready', status: 'True' }] },
    });
  });
}

export function simulatedPod(namespace: string, index: number, labels: Record<string, string> = {}): Pod {
  return {
    metadata: { name: `pod-${String(index).padStart(6, '0')}`, namespace, labels: { app: 'bench', ...labels } },
    spec: {
      containers: [
        {
          name: 'main',
          image: 'registry.example.com/team/application:1.2.3',
          ports: [{ containerPort: 8080 }],
          env: [{ name: 'PORT', value: '8080' }],
          resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '256Mi' } },
        },
      ],
    },
  };
}

export async function createSimulatedPods(
  client: Client,
  { namespace, count, change = (pod) => pod }: { namespace: string; count: number; change?: (pod: Pod) => Pod },
): Promise<void> {
  await inParallel(count, (index) => client.create(pods, change(simulatedPod(namespace, index))));
}
