/** Labels and annotations by which the agent finds again what it made, and what pods ask of it (see `agent.ts`). */
import type { Container } from '#engine/engine.ts';

export const podNameLabel = 'io.kubernetes.pod.name';
export const podNamespaceLabel = 'io.kubernetes.pod.namespace';
export const podUidLabel = 'io.kubernetes.pod.uid';
export const containerNameLabel = 'io.kubernetes.container.name';
export const restartCountLabel = 'node.sampan.dev/restart-count';
export const specHashLabel = 'node.sampan.dev/spec-hash';
/** Which node made a sandbox: another agent on the same engine never touches it. */
export const nodeLabel = 'node.sampan.dev/node';
/** `terminationGracePeriodSeconds` of the pod, for a pod that is gone when its sandbox is found. */
export const graceLabel = 'node.sampan.dev/grace-seconds';
/** How often in a row the container ended soon after its start: the step of the back-off. */
export const crashesLabel = 'node.sampan.dev/crashes';
/** Names of PersistentVolumes, with commas between, that no container of another pod may have meanwhile. */
export const exclusiveVolumesLabel = 'node.sampan.dev/exclusive-volumes';

export const egressAnnotation = 'node.sampan.dev/egress';
export const pidsAnnotation = 'node.sampan.dev/pids';
export const logRateAnnotation = 'node.sampan.dev/log-bytes-per-second';
export const memoryAnnotation = 'node.sampan.dev/memory';
export const backoffAnnotation = 'node.sampan.dev/backoff';
export const namedUsersAnnotation = 'node.sampan.dev/named-users';
export const hostCaAnnotation = 'node.sampan.dev/host-ca';

/** On the API's object of a pod that a node runs from a file: the file's version. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';
/** Where a node has a pod from: `api`, or `file`. */
export const sourceAnnotation = 'kubernetes.io/config.source';

/** Undefined for pods of the API. */
export function staticSourceOf(annotations: Record<string, string> | undefined): string | undefined {
  const source = annotations?.[sourceAnnotation];
  return source === 'api' ? undefined : source;
}

export function restartCountOf(container: Container): number {
  return Number(container.labels[restartCountLabel] ?? 0) || 0;
}

export function crashesOf(container: Container): number {
  return Number(container.labels[crashesLabel] ?? 0) || 0;
}
