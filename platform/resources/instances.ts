/** What is read of the pods that run apps, by everybody in the platform who reads them. */
import type { ContainerStatus, Pod } from '#cluster/kinds/types/core.ts';

/** Nothing of the pod may have more memory together, whatever its containers may have each. The node agent holds it. */
export const memoryAnnotation = 'node.sampan.dev/memory';

/** Of the app itself, not of its sidecars: its container is the first, while statuses come in any order. */
export function appStatus(pod: Pod): ContainerStatus | undefined {
  const name = pod.spec?.containers[0]?.name;
  return pod.status?.containerStatuses?.find((status) => status.name === name);
}

/** Of what keeps the pod from being ready: the one that was started again most often. Where nothing does, the app's. */
export function worstStatus(pod: Pod): ContainerStatus | undefined {
  const unready = (pod.status?.containerStatuses ?? []).filter(({ ready }) => !ready);
  return unready.sort((a, b) => b.restartCount - a.restartCount)[0] ?? appStatus(pod);
}
