/** Waits for states of pods, by the watch of an informer. */
import type { Client, Informer } from '#cluster/client/client.ts';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ContainerStateTerminated, Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../../resources/kubernetes.ts';
import { BUILD_CONTAINER } from './build-pod.ts';

/** Resolves with the first value that `look` finds, now or after a change of the pod. */
export async function untilPod<Value>(
  informer: Informer<Pod>,
  pod: { name: string; namespace: string },
  look: (pod: Stored<Pod> | undefined) => Value | undefined,
  signal: AbortSignal,
): Promise<Value> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Value>();
  const check = () => {
    try {
      const found = look(informer.get(pod.name, pod.namespace));
      if (found !== undefined) resolve(found);
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const stop = informer.onChange((now, old) => {
    if ((now ?? old)?.metadata.name === pod.name) check();
  });
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  check();
  try {
    return await promise;
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}

export function terminated(pod: Stored<Pod>): ContainerStateTerminated | undefined {
  const status = pod.status?.containerStatuses?.find(({ name }) => name === BUILD_CONTAINER);
  return status?.state?.terminated;
}

export function isRunning(pod: Stored<Pod>): boolean {
  return (
    pod.status?.containerStatuses?.some(
      ({ name, state }) => name === BUILD_CONTAINER && state?.running !== undefined,
    ) ?? false
  );
}

/** Deletes at once; what is not there is deleted already. */
export async function deletePod(client: Client, pod: { name: string; namespace: string }): Promise<void> {
  try {
    await client.delete(pods, pod.name, { namespace: pod.namespace, gracePeriodSeconds: 0 });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}
