/** Empties a namespace that is being deleted, and then lets it go. */
import { ApiError, type Client, type ClientObject, type Informer } from '../client/client.ts';
import type { ResourceRef, Stored } from '../kinds/kind.ts';
import { namespaces as namespaceResource, pods as podResource } from '../kinds/resources.ts';
import type { Namespace, NamespaceCondition } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { discoverAggregated, discoverResources } from './discover.ts';
import { openInformer, timestamp } from './objects.ts';

const finalizer = 'kubernetes';
/** Pods that stop wake it; whatever else holds an object by a finalizer of its own is looked for again after this. */
const lookAgain = 2000;

interface Left {
  resource: ResourceRef;
  count: number;
  finalizers: string[];
}

async function empty(client: Client, namespace: string, resource: ResourceRef): Promise<Left> {
  try {
    const before = await client.list<ClientObject>(resource, { namespace, limit: 1 });
    if (before.items.length === 0) return { resource, count: 0, finalizers: [] };
    await client.deleteCollection<ClientObject>(resource, { namespace });
    const { items } = await client.list<ClientObject>(resource, { namespace });
    const finalizers = new Set(items.flatMap(({ metadata }) => metadata.finalizers ?? []));
    return { resource, count: items.length, finalizers: [...finalizers] };
  } catch (error) {
    // Its definition was removed meanwhile, and its objects with it.
    if (error instanceof ApiError && (error.code === 404 || error.code === 405))
      return { resource, count: 0, finalizers: [] };
    throw error;
  }
}

/** @param failed  what could not be asked what it has */
function conditionsOf(left: Left[], failed: string[], now: number): NamespaceCondition[] {
  const lastTransitionTime = timestamp(now);
  const name = ({ group, resource }: ResourceRef): string => (group === '' ? resource : `${resource}.${group}`);
  const content = left.map(({ resource, count }) => `${name(resource)}. has ${count} resource instances`).join(', ');
  const finalizers = [...new Set(left.flatMap((one) => one.finalizers))];
  return [
    {
      type: 'NamespaceDeletionDiscoveryFailure',
      status: failed.length > 0 ? 'True' : 'False',
      reason: failed.length > 0 ? 'DiscoveryFailed' : 'ResourcesDiscovered',
      message:
        failed.length > 0
          ? `Discovery failed for some groups, ${failed.length} failing: ${failed.join(', ')}`
          : 'All resources successfully discovered',
      lastTransitionTime,
    },
    {
      type: 'NamespaceContentRemaining',
      status: left.length > 0 ? 'True' : 'False',
      reason: left.length > 0 ? 'SomeResourcesRemain' : 'ContentRemoved',
      message: left.length > 0 ? `Some resources are remaining: ${content}` : 'All content successfully removed',
      lastTransitionTime,
    },
    {
      type: 'NamespaceFinalizersRemaining',
      status: finalizers.length > 0 ? 'True' : 'False',
      reason: finalizers.length > 0 ? 'SomeFinalizersRemain' : 'ContentHasNoFinalizers',
      message:
        finalizers.length > 0
          ? `Some content in the namespace has finalizers remaining: ${finalizers.join(', ')}`
          : 'All content-preserving finalizers finished',
      lastTransitionTime,
    },
  ];
}

export function createNamespaceController(): Controller {
  let namespaces: Informer<Namespace>;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  async function report(client: Client, namespace: Stored<Namespace>, conditions: NamespaceCondition[]): Promise<void> {
    const said = (list: NamespaceCondition[]): string =>
      JSON.stringify(list.map(({ type, message }) => [type, message]));
    if (said(conditions) === said(namespace.status?.conditions ?? [])) return;
    await client.updateStatus(namespaceResource, {
      ...namespace,
      status: { ...namespace.status, phase: 'Terminating', conditions },
    });
  }

  async function reconcile(name: string, { client, now }: ControllerContext): Promise<void> {
    const namespace = namespaces.get(name);
    if (namespace?.metadata.deletionTimestamp === undefined) return;
    const held = namespace.spec?.finalizers ?? [];
    if (!held.includes(finalizer)) return;
    const [own, behind] = await Promise.all([discoverResources(client), discoverAggregated(client)]);
    const resources = [...own, ...behind.resources].filter(({ namespaced }) => namespaced);
    const left = (await Promise.all(resources.map((resource) => empty(client, name, resource)))).filter(
      ({ count }) => count > 0,
    );
    if (left.length > 0 || behind.failed.length > 0) {
      requeue(name, lookAgain);
      await report(client, namespace, conditionsOf(left, behind.failed, now()));
      return;
    }
    const body = {
      ...namespace,
      apiVersion: 'v1',
      kind: 'Namespace',
      spec: { ...namespace.spec, finalizers: held.filter((one) => one !== finalizer) },
    };
    await client
      .request({ method: 'PUT', path: `/api/v1/namespaces/${encodeURIComponent(name)}/finalize`, body })
      .catch((error: unknown) => {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      });
  }

  return {
    name: 'namespace',
    async start(context, enqueue) {
      requeue = enqueue;
      namespaces = openInformer(context, namespaceResource);
      const pods = openInformer(context, podResource);
      namespaces.onChange((now) => {
        if (now?.metadata.deletionTimestamp !== undefined) enqueue(now.metadata.name);
      });
      pods.onChange((now, old) => {
        const namespace = old?.metadata.namespace;
        if (!now && namespace && namespaces.get(namespace)?.metadata.deletionTimestamp !== undefined)
          enqueue(namespace);
      });
      await namespaces.synced;
      for (const { metadata } of namespaces.list()) enqueue(metadata.name);
    },
    keys: () => namespaces.list().map(({ metadata }) => metadata.name),
    reconcile,
  };
}
