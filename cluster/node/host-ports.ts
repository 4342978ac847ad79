/** Ports of this host that lead to a pod (`ports[].hostPort`), as the engine publishes them. */
import type { PublishedPort, Sandbox } from '#engine/engine.ts';
import type { Pod } from '../kinds/types/core.ts';

export function hostPortsOf({ spec }: Pod): PublishedPort[] {
  // With the host's network they are the container's own already.
  if (spec?.hostNetwork) return [];
  const lasting = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...lasting].flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, containerPort, protocol, hostIP }) =>
      hostPort
        ? [
            {
              hostPort,
              port: containerPort,
              protocol: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const),
              // Pods have IPv4 only.
              hostIp: hostIP || '0.0.0.0',
            },
          ]
        : [],
    ),
  );
}

/** Whether they lead to it already: an agent may be killed between the sandbox and its ports. */
export function isPublished(pod: Pod, { published = [] }: Sandbox): boolean {
  return hostPortsOf(pod).every((port) =>
    published.some(
      (one) =>
        one.hostPort === port.hostPort &&
        one.port === port.port &&
        one.protocol === port.protocol &&
        (one.hostIp ?? '0.0.0.0') === port.hostIp,
    ),
  );
}
