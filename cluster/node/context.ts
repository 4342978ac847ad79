/** What every pod's worker shares: the node that it works for. */
import type { Engine, Sandbox } from '#engine/engine.ts';
import type { Client } from '../client/client.ts';
import type { Container, ObjectReference, Pod } from '../kinds/types/core.ts';
import type { AgentOptions } from './agent.ts';
import type { Csi } from './csi/csi.ts';
import type { PodPlace } from './downward.ts';
import type { EventRecorder } from './events.ts';
import type { NodeRoom } from './node-settings.ts';
import type { LogCounts } from './log-collector.ts';
import type { NodeVolumes } from './node-volumes.ts';
import type { ClusterNames } from './pod-dns.ts';
import type { ServiceLookup } from './references.ts';
import type { PressureCondition } from './pressure.ts';
import type { NodePolicy } from './security.ts';

export interface NodeContext {
  nodeName: string;
  /** One of each family that it has, IPv4 first. */
  hostIps: readonly string[];
  engine: Engine;
  client: Client;
  recorder: EventRecorder;
  policy: NodePolicy;
  volumes: NodeVolumes;
  /** Absent: no CSI drivers. */
  csi?: Csi;
  /** Milliseconds after which tokens in volumes are renewed; of tests, else by their life. */
  renewTokensAfter?: number;
  dataDirectory: string;
  /** What there is for pods. */
  room: NodeRoom;
  /** What the node lacks now. */
  pressures?: () => readonly PressureCondition[];
  /** The pods that have their place here, but for this one. */
  placed?: (uid: string) => readonly Pod[];
  /** Absent: pods ask the host's servers. */
  names?: ClusterNames;
  admit?: AgentOptions['admit'];
  log: AgentOptions['log'];
  /** Of logs that are collected; nobody asks where it is absent. */
  logCounts?: LogCounts;
  /** This node's copy of all Services, for the variables of containers. */
  services?: ServiceLookup;
}

/** One of each family; the host's where the pod is in its network. */
export function podIpsOf({ hostIps }: NodeContext, { ip, ip6 }: Pick<Sandbox, 'ip' | 'ip6'>): readonly string[] {
  if (ip === '') return hostIps;
  return ip6 === undefined ? [ip] : [ip, ip6];
}

export function placeOf(context: NodeContext, podIps: readonly string[]): PodPlace {
  const { milliCpus, memoryBytes, diskBytes } = context.room.allocatable;
  return {
    nodeName: context.nodeName,
    hostIps: context.hostIps,
    podIps,
    allocatable: { cpus: milliCpus / 1000, memoryBytes, diskBytes },
  };
}

/** A pod as the object of an event; with a container, the path to it. */
export function podReference(pod: Pod, container?: string): ObjectReference {
  const isIn = (list: Pick<Container, 'name'>[] | undefined): boolean =>
    list?.some(({ name }) => name === container) ?? false;
  const field = isIn(pod.spec?.initContainers)
    ? 'initContainers'
    : isIn(pod.spec?.ephemeralContainers)
      ? 'ephemeralContainers'
      : 'containers';
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    ...(name !== undefined && { name }),
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
    ...(container !== undefined && { fieldPath: `spec.${field}{${container}}` }),
  };
}

export function recordPodEvent(
  context: NodeContext,
  pod: Pod,
  container: string | undefined,
  event: { type: 'Normal' | 'Warning'; reason: string; message: string },
): void {
  context.recorder.record({ ...event, object: podReference(pod, container) });
}
