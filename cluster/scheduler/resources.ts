/** What a pod asks for and what a node has, as numbers: cpu in millicores, everything else in its base unit. */
import { quantityValue } from '../kinds/quantity.ts';
import type { Container, Pod } from '../kinds/types/core.ts';

export type Amounts = ReadonlyMap<string, number>;

/** For scoring only: what a container without requests is taken to use. */
const assumedCpu = 100;
const assumedMemory = 200 * 1024 * 1024;

export function parseAmounts(quantities: Record<string, string> | undefined): Map<string, number> {
  const amounts = new Map<string, number>();
  for (const [name, quantity] of Object.entries(quantities ?? {})) {
    const value = quantityValue(quantity);
    if (!Number.isNaN(value)) amounts.set(name, name === 'cpu' ? Math.ceil(value * 1000 - 1e-6) : value);
  }
  return amounts;
}

function add(into: Map<string, number>, amounts: Amounts): void {
  for (const [name, value] of amounts) into.set(name, (into.get(name) ?? 0) + value);
}

function requestsOf(container: Container): Map<string, number> {
  return parseAmounts({ ...container.resources?.limits, ...container.resources?.requests });
}

/**
 * Kubernetes, "Sidecar Containers: Resource sharing": init containers run one after the other beside the sidecars
 * started before them, then all containers and sidecars together; the pod needs the greater of the two.
 */
export function podRequests(pod: Pod): Amounts {
  const total = new Map<string, number>();
  const sidecars = new Map<string, number>();
  const initial = new Map<string, number>();
  for (const container of pod.spec?.containers ?? []) add(total, requestsOf(container));
  for (const container of pod.spec?.initContainers ?? []) {
    const own = requestsOf(container);
    if (container.restartPolicy === 'Always') add(sidecars, own);
    const now = new Map(sidecars);
    if (container.restartPolicy !== 'Always') add(now, own);
    for (const [name, value] of now) initial.set(name, Math.max(initial.get(name) ?? 0, value));
  }
  add(total, sidecars);
  for (const [name, value] of initial) total.set(name, Math.max(total.get(name) ?? 0, value));
  add(total, parseAmounts(pod.spec?.overhead));
  return total;
}

export interface PodUsage {
  requests: Amounts;
  /** With assumed values for containers that name none. */
  scoreCpu: number;
  scoreMemory: number;
  /** `TCP/0.0.0.0/80`. */
  hostPorts: { protocol: string; ip: string; port: number }[];
  owner: string | undefined;
  priority: number;
}

export function podUsage(pod: Pod): PodUsage {
  const requests = podRequests(pod);
  const count = pod.spec?.containers.length ?? 0;
  const hostPorts = (pod.spec?.containers ?? []).flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ hostPort, containerPort, hostIP, protocol = 'TCP' }) => {
      const port = hostPort || (pod.spec?.hostNetwork ? containerPort : 0);
      return port ? [{ protocol, ip: hostIP || '0.0.0.0', port }] : [];
    }),
  );
  return {
    requests,
    scoreCpu: requests.get('cpu') || assumedCpu * count,
    scoreMemory: requests.get('memory') || assumedMemory * count,
    hostPorts,
    owner: pod.metadata.ownerReferences?.find(({ controller }) => controller)?.uid,
    priority: pod.spec?.priority ?? 0,
  };
}
