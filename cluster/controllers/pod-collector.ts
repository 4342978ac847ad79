/** Removes pods that nobody else can: bound to a node that is no more, or deleted before they had one. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes as nodeResource, pods as podResource } from '../kinds/resources.ts';
import type { Node, Pod } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { isFinished, keyOf, openInformer, splitKey } from './objects.ts';

/** A node that was replaced under its name comes back within this. */
const quarantine = 40_000;

export function createPodCollector(options: { quarantine?: number } = {}): Controller {
  const wait = options.quarantine ?? quarantine;
  let nodes: Informer<Node>;
  let pods: Informer<Pod>;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;
  /** Since when each node has been missing, by a clock that nobody sets. */
  const missing = new Map<string, number>();

  async function isGone(client: Client, name: string): Promise<boolean> {
    try {
      await client.get(nodeResource, name);
      return false;
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return true;
      throw error;
    }
  }

  async function remove(client: Client, pod: Stored<Pod>): Promise<void> {
    const { name, namespace = '', uid } = pod.metadata;
    try {
      await client.delete(podResource, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    }
  }

  return {
    name: 'pod-collector',
    async start(context, enqueue) {
      requeue = enqueue;
      nodes = openInformer(context, nodeResource);
      pods = openInformer(context, podResource, { node: ({ spec }) => (spec?.nodeName ? [spec.nodeName] : []) });
      pods.onChange((now) => {
        if (!now) return;
        const node = now.spec?.nodeName;
        if (node ? !nodes.get(node) : now.metadata.deletionTimestamp !== undefined) enqueue(keyOf(now.metadata));
      });
      nodes.onChange((now, old) => {
        if (now) missing.delete(now.metadata.name);
        else if (old) for (const pod of pods.byIndex('node', old.metadata.name)) enqueue(keyOf(pod.metadata));
      });
      await Promise.all([nodes.synced, pods.synced]);
      for (const { metadata } of pods.list()) enqueue(keyOf(metadata));
    },
    keys: () => pods.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, { client }) {
      const { namespace, name } = splitKey(key);
      const pod = pods.get(name, namespace);
      if (!pod) return;
      const node = pod.spec?.nodeName;
      if (!node) {
        if (pod.metadata.deletionTimestamp !== undefined) await remove(client, pod);
        return;
      }
      if (nodes.get(node)) return;
      const now = performance.now();
      const since = missing.get(node) ?? now;
      missing.set(node, since);
      const left = since + wait - now;
      if (left > 0) requeue(key, left);
      else if (isFinished(pod) || (await isGone(client, node))) await remove(client, pod);
    },
  };
}
