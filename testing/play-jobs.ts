/** Stands in for node agents where pods are to end: no test of a controller needs containers for that. */
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { playPods, setReady } from './control-plane.ts';

/** With which status a pod's containers exit. */
export interface EndOfPod {
  code: number;
}

async function end(client: Client, pod: Stored<Pod>, code: number): Promise<void> {
  const finishedAt = `${new Date().toISOString().slice(0, 19)}Z`;
  const containerStatuses = (pod.spec?.containers ?? []).map(({ name, image = '' }) => ({
    name,
    image,
    imageID: '',
    ready: false,
    restartCount: 0,
    state: { terminated: { exitCode: code, reason: code === 0 ? 'Completed' : 'Error', finishedAt } },
  }));
  const phase = code === 0 ? 'Succeeded' : 'Failed';
  await client.updateStatus(pods, { ...pod, status: { ...pod.status, phase, containerStatuses } });
}

/**
 * Pods that are bound end as `endOf` says; where it says undefined they run and are ready. A pod that is to stop has
 * failed, and is gone unless a finalizer keeps it. Returns how to stop it.
 */
export function playJobs(client: Client, endOf: (pod: Stored<Pod>) => EndOfPod | undefined): () => void {
  /** Asked once for each pod. */
  const decided = new Map<string, EndOfPod | undefined>();
  return playPods(client, async (pod) => {
    const { name, namespace = '', uid } = pod.metadata;
    const phase = pod.status?.phase ?? 'Pending';
    if (pod.metadata.deletionTimestamp !== undefined) {
      if (phase === 'Pending' || phase === 'Running') await end(client, pod, 137);
      else if (pod.metadata.deletionGracePeriodSeconds !== 0) {
        await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
      }
    } else if (pod.spec?.nodeName && phase === 'Pending') {
      if (!decided.has(uid)) decided.set(uid, endOf(pod));
      const how = decided.get(uid);
      if (how) await end(client, pod, how.code);
      else await setReady(client, pod, true);
    }
  });
}
