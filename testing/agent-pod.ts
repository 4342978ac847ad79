/** Pods for tests of the node agent. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Container, Pod, PodSpec } from '#cluster/kinds/types/core.ts';

export function podObject(
  name: string,
  spec: Omit<Partial<PodSpec>, 'containers'> & { containers?: Partial<Container>[] } = {},
  annotations: Record<string, string> = {},
): Stored<Pod> {
  const containers = (spec.containers ?? [{}]).map((container, index) => ({
    name: index === 0 ? 'main' : `extra-${index}`,
    image: 'local/app:1',
    ...container,
  }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}`,
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
      annotations,
    },
    spec: { nodeName: 'node-1', restartPolicy: 'Always', terminationGracePeriodSeconds: 30, ...spec, containers },
  };
}
