/** The downward API: fields of a pod and resources of its containers, as text for environment and files. */
import type { Container, ObjectFieldSelector, Pod, ResourceFieldSelector } from '../kinds/types/core.ts';
import { AgentError } from './errors.ts';
import { parseQuantity } from './quantity.ts';

/** What a pod learns of where it runs, besides its own object. */
export interface PodPlace {
  nodeName: string;
  /** One of each family, IPv4 first. */
  hostIps: readonly string[];
  podIps: readonly string[];
  /** What a container may use that has no limit of its own. */
  allocatable: { cpus: number; memoryBytes: number; diskBytes: number };
}

export function fieldValue(pod: Pod, place: PodPlace, { fieldPath }: ObjectFieldSelector): string {
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (subscript) {
    const map = subscript[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations;
    return map?.[subscript[2] ?? ''] ?? '';
  }
  switch (fieldPath) {
    case 'metadata.name':
      return pod.metadata.name ?? '';
    case 'metadata.namespace':
      return pod.metadata.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    case 'spec.nodeName':
      return place.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec?.serviceAccountName ?? 'default';
    case 'status.podIP':
      return place.podIps[0] ?? '';
    case 'status.podIPs':
      return place.podIps.join();
    case 'status.hostIP':
      return place.hostIps[0] ?? '';
    case 'status.hostIPs':
      return place.hostIps.join();
    default:
      throw new AgentError(
        'CreateContainerConfigError',
        `cannot resolve fieldRef.fieldPath "${fieldPath}": use metadata.name, metadata.namespace, metadata.uid, ` +
          `metadata.labels['x'], metadata.annotations['x'], spec.nodeName, spec.serviceAccountName, status.podIP or status.hostIP`,
      );
  }
}

/** One `key="value"` a line, by key, as the files of a downward volume have it. */
function formatMap(map: Record<string, string> | undefined): string {
  const lines = Object.entries(map ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return lines.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join('\n');
}

export function resourceValue(
  pod: Pod,
  place: PodPlace,
  selector: ResourceFieldSelector,
  container: Container | undefined,
): string {
  const target = selector.containerName
    ? [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].find(
        ({ name }) => name === selector.containerName,
      )
    : container;
  if (!target) {
    throw new AgentError(
      'CreateContainerConfigError',
      `cannot resolve resourceFieldRef "${selector.resource}": no container "${selector.containerName ?? ''}" in the pod`,
    );
  }
  const match = /^(limits|requests)\.(cpu|memory|ephemeral-storage)$/.exec(selector.resource);
  if (!match) {
    throw new AgentError(
      'CreateContainerConfigError',
      `cannot resolve resourceFieldRef.resource "${selector.resource}": use limits or requests of cpu, memory or ephemeral-storage`,
    );
  }
  const resource = match[2] ?? '';
  const { limits, requests } = target.resources ?? {};
  const text = match[1] === 'limits' ? limits?.[resource] : (requests?.[resource] ?? limits?.[resource]);
  const value = text === undefined ? fallback(match[1] ?? '', resource, place) : parseQuantity(text);
  const divisor = parseQuantity(selector.divisor ?? '1') || 1;
  return String(Math.ceil(Number((value / divisor).toFixed(6))));
}

function fallback(kind: string, resource: string, { allocatable }: PodPlace): number {
  if (kind === 'requests') return 0;
  if (resource === 'cpu') return allocatable.cpus;
  return resource === 'memory' ? allocatable.memoryBytes : allocatable.diskBytes;
}
