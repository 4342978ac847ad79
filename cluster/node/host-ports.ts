/** Ports of this host that lead to a pod (`ports[].hostPort`), as the engine publishes them. */
import type { PublishedPort, Sandbox } from '#engine/engine.ts';
import type { Pod } from '../kinds/types/core.ts';

/** @param hasIpv6  whether the pod can be led to by that */
export function hostPortsOf({ spec }: Pod, hasIpv6: boolean): PublishedPort[] {
  // With the host's network they are the container's own already.
  if (spec?.hostNetwork) return [];
  const lasting = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...lasting].flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, containerPort: port, protocol, hostIP }) => {
      if (!hostPort) return [];
      const published = { hostPort, port, protocol: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const) };
      const hostIps = hostIP ? [hostIP] : ['0.0.0.0', ...(hasIpv6 ? ['::'] : [])];
      return hostIps.map((hostIp) => ({ ...published, hostIp }));
    }),
  );
}

/** Whether they lead to it already: an agent may be killed between the sandbox and its ports. */
export function isPublished(pod: Pod, { published = [], ip6 }: Sandbox): boolean {
  return hostPortsOf(pod, ip6 !== undefined).every((port) =>
    published.some(
      (one) =>
        one.hostPort === port.hostPort &&
        one.port === port.port &&
        one.protocol === port.protocol &&
        (one.hostIp ?? '0.0.0.0') === port.hostIp,
    ),
  );
}
