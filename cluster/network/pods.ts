/** Every pod of the cluster, with no more of it than the network asks: labels, addresses, ports. */
import type { Client, Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { pods } from '../kinds/resources.ts';
import type { Container, Pod } from '../kinds/types/core.ts';

const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Has an index `ip`; a pod that has ended has no address any more. */
export function createPodInformer(client: Client, onError: (error: unknown) => void): Informer<Pod> {
  return createInformer(client, pods, { indexes: { ip: addressesOf }, transform: reduced, onError });
}

export function addressesOf({ status }: Pod): string[] {
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return [];
  return [...new Set([status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)])].filter((ip) => ip !== undefined);
}

function reduced({ metadata, spec, status }: Stored<Pod>): Stored<Pod> {
  const { name, namespace, uid, resourceVersion, labels, annotations } = metadata;
  const mirrored = annotations?.[mirrorAnnotation];
  const { nodeName, hostNetwork, containers = [], initContainers = [] } = spec ?? {};
  const { phase, podIP, podIPs } = status ?? {};
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  return {
    metadata: {
      name,
      // A pod of a file of its node goes by the uid that the node knows it by.
      uid: mirrored ?? uid,
      resourceVersion,
      ...(namespace !== undefined && { namespace }),
      ...(labels && { labels }),
    } as Stored<Pod>['metadata'],
    spec: {
      containers: [...containers, ...sidecars].flatMap(namedPorts),
      ...(nodeName !== undefined && { nodeName }),
      ...(hostNetwork !== undefined && { hostNetwork }),
    },
    status: {
      ...(phase !== undefined && { phase }),
      ...(podIP !== undefined && { podIP }),
      ...(podIPs !== undefined && { podIPs }),
    },
  };
}

function namedPorts({ name, ports = [] }: Container): Container[] {
  const named = ports.filter((port) => port.name);
  return named.length === 0 ? [] : [{ name, ports: named }];
}
