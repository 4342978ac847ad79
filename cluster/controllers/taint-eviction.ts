/**
 * Evicts pods from nodes with taints of the effect NoExecute that they do not tolerate, or no longer (Kubernetes "Taints and Tolerations",
 * taint based evictions). Taints of nodes that are not ready or not reachable are `node-lifecycle.ts`'s. How long a pod has stood under
 * its node's taints is told by a clock that nobody sets, from when it was seen first.
 */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes as nodeResource, pods as podResource } from '../kinds/resources.ts';
import type { Node, Pod, Taint } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { toleratedFor } from './node-lifecycle.ts';
import { isActive, keyOf, openInformer, timestamp } from './objects.ts';

const OF_OTHERS = new Set(['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']);
const REASON = 'DeletionByTaintManager';
const MESSAGE = 'Taint manager: deleting due to NoExecute taint';

export function createTaintEviction(): Controller {
  let nodes: Informer<Node>;
  let pods: Informer<Pod>;
  let recorder: EventRecorder;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;
  /** By the pod's uid. */
  const since = new Map<string, number>();

  function taintsOf(name: string): Taint[] {
    const taints = nodes.get(name)?.spec?.taints ?? [];
    return taints.filter(({ key, effect }) => effect === 'NoExecute' && !OF_OTHERS.has(key));
  }

  return {
    name: 'taint-eviction',
    async start(context, enqueue) {
      requeue = enqueue;
      const onError = (error: unknown): void => context.log('warn', `taint eviction: ${String(error)}`);
      recorder = createEventRecorder({ client: context.client, component: 'taint-eviction-controller', onError });
      nodes = openInformer(context, nodeResource);
      pods = openInformer(context, podResource, { node: ({ spec }) => (spec?.nodeName ? [spec.nodeName] : []) });
      nodes.onChange((now, old) => enqueue((now ?? old)?.metadata.name ?? ''));
      pods.onChange((now, old) => {
        if (!now && old) since.delete(old.metadata.uid);
        const name = now?.spec?.nodeName;
        if (name && taintsOf(name).length > 0) enqueue(name);
      });
      await Promise.all([nodes.synced, pods.synced]);
      for (const { metadata } of nodes.list()) enqueue(metadata.name);
    },
    keys: () => nodes.list().map(({ metadata }) => metadata.name),
    async reconcile(name, { client, now }) {
      const taints = taintsOf(name);
      for (const pod of pods.byIndex('node', name)) {
        const { uid } = pod.metadata;
        if (taints.length === 0) since.delete(uid);
        if (taints.length === 0 || !isActive(pod)) continue;
        const began = since.get(uid) ?? performance.now();
        since.set(uid, began);
        const left = Math.min(...taints.map((taint) => toleratedFor(pod, taint))) - (performance.now() - began);
        if (left > 0) {
          if (Number.isFinite(left)) requeue(name, left);
          continue;
        }
        const message = `Marking for deletion Pod ${keyOf(pod.metadata)}`;
        const object = { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata };
        recorder.record(object, { type: 'Normal', reason: 'TaintManagerEviction', message });
        await evict(client, pod, now());
      }
    },
  };
}

async function evict(client: Client, { metadata }: Stored<Pod>, now: number): Promise<void> {
  const { name, namespace = '', uid } = metadata;
  const lastTransitionTime = timestamp(now);
  const condition = { type: 'DisruptionTarget', status: 'True', reason: REASON, message: MESSAGE, lastTransitionTime };
  const body = { metadata: { uid }, status: { conditions: [condition] } };
  try {
    await client.patch(podResource, name, { type: 'strategic', body }, { namespace, subresource: 'status' });
    await client.delete(podResource, name, { namespace, preconditions: { uid } });
  } catch (error) {
    // Gone, or another of its name is there by now.
    if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error;
  }
}
