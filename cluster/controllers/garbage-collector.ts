/**
 * Deletes what belonged to objects that are gone (Kubernetes, "Garbage Collection"): in the background after the owner,
 * in the foreground before it, or not at all when the owner's deletion orphans them. A key is an object's uid.
 */
import { ApiError, type Client, type ClientObject } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import type { OwnerReference } from '../kinds/types/meta.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { type GraphObject, type MetadataGraph, openMetadataGraph } from './metadata-graph.ts';

const foreground = 'foregroundDeletion';
const orphan = 'orphan';

const holds = (object: Stored<ClientObject>, finalizer: string): boolean =>
  object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers?.includes(finalizer) ?? false);

async function ignoreGone(action: Promise<unknown>): Promise<void> {
  try {
    await action;
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

/** What the owner waits for, once it is deleted in the foreground. */
function blockingOf(graph: MetadataGraph, owner: string): GraphObject[] {
  return graph
    .dependents(owner)
    .filter(({ object }) =>
      object.metadata.ownerReferences?.some((reference) => reference.uid === owner && reference.blockOwnerDeletion),
    );
}

/** Does the dependent wait, by whatever way, for its owner? Of such a circle nobody would ever be the first to go. */
function waitsFor(graph: MetadataGraph, { object }: GraphObject, owner: string): boolean {
  const seen = new Set<string>();
  const ahead = [object];
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    const { uid } = next.metadata;
    if (uid === owner) return true;
    if (seen.has(uid) || !holds(next, foreground)) continue;
    seen.add(uid);
    ahead.push(...blockingOf(graph, uid).map((blocking) => blocking.object));
  }
  return false;
}

export function createGarbageCollector(): Controller {
  let graph: MetadataGraph | undefined;
  let wake: (uid: string) => void = () => undefined;

  /** Is the owner there? What the graph does not show is asked for: it may lag behind. */
  async function ownerState(
    client: Client,
    reference: OwnerReference,
    namespace: string,
  ): Promise<'solid' | 'waiting' | 'absent'> {
    const known = graph?.get(reference.uid);
    if (known) return holds(known.object, foreground) ? 'waiting' : 'solid';
    const resource = graph?.resourceOf(reference.apiVersion, reference.kind);
    if (!resource)
      throw new Error(`owner ${reference.apiVersion} ${reference.kind} ${reference.name}: the server has no such kind`);
    // What belongs to no namespace cannot be owned from one: such a reference is a mistake, and no reason to delete.
    if (resource.namespaced && namespace === '') return 'solid';
    try {
      const owner = await client.get<ClientObject>(
        resource,
        reference.name,
        resource.namespaced ? namespace : undefined,
      );
      if (owner.metadata.uid !== reference.uid) return 'absent';
      return holds(owner, foreground) ? 'waiting' : 'solid';
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return 'absent';
      throw error;
    }
  }

  async function removeOwners(client: Client, { resource, object }: GraphObject, uids: Set<string>): Promise<void> {
    const { name, namespace, uid, resourceVersion, ownerReferences = [] } = object.metadata;
    const left = ownerReferences.filter((reference) => !uids.has(reference.uid));
    const body = { metadata: { uid, resourceVersion, ownerReferences: left.length > 0 ? left : null } };
    await ignoreGone(
      client.patch<ClientObject>(resource, name, { type: 'merge', body }, namespace ? { namespace } : {}),
    );
  }

  async function removeFinalizer(client: Client, { resource, object }: GraphObject, finalizer: string): Promise<void> {
    const { name, namespace, uid } = object.metadata;
    await ignoreGone(
      (async () => {
        const live = await client.get<ClientObject>(resource, name, namespace);
        if (live.metadata.uid !== uid) return;
        const finalizers = live.metadata.finalizers?.filter((one) => one !== finalizer) ?? [];
        const body = {
          metadata: {
            uid,
            resourceVersion: live.metadata.resourceVersion,
            finalizers: finalizers.length > 0 ? finalizers : null,
          },
        };
        await client.patch<ClientObject>(resource, name, { type: 'merge', body }, namespace ? { namespace } : {});
      })(),
    );
  }

  async function collect(client: Client, item: GraphObject): Promise<void> {
    const { resource, object } = item;
    const { name, namespace = '', uid, ownerReferences = [], deletionTimestamp, finalizers = [] } = object.metadata;
    if (ownerReferences.length === 0 || (deletionTimestamp !== undefined && !finalizers.includes(foreground))) return;
    const states = await Promise.all(ownerReferences.map((reference) => ownerState(client, reference, namespace)));
    const gone = new Set(
      ownerReferences.filter((_, index) => states[index] !== 'solid').map((reference) => reference.uid),
    );
    if (gone.size === 0 || deletionTimestamp !== undefined) return;
    if (gone.size < ownerReferences.length) {
      await removeOwners(client, item, gone);
      return;
    }
    // An owner that waits for this one also waits for what this one owns.
    const waits = states.includes('waiting') && (graph?.dependents(uid).length ?? 0) > 0;
    await ignoreGone(
      client.delete(resource, name, {
        ...(namespace && { namespace }),
        propagationPolicy: finalizers.includes(orphan) ? 'Orphan' : waits ? 'Foreground' : 'Background',
        preconditions: { uid },
      }),
    );
  }

  async function reconcile(uid: string, { client }: ControllerContext): Promise<void> {
    if (!graph) return;
    const shown = graph;
    const item = shown.get(uid);
    const dependents = shown.dependents(uid);
    if (!item) {
      for (const { object } of dependents) wake(object.metadata.uid);
      return;
    }
    if (holds(item.object, orphan)) {
      await Promise.all(dependents.map((dependent) => removeOwners(client, dependent, new Set([uid]))));
      await removeFinalizer(client, item, orphan);
      return;
    }
    if (holds(item.object, foreground)) {
      const blocking = blockingOf(shown, uid).filter((dependent) => !waitsFor(shown, dependent, uid));
      if (blocking.length === 0) await removeFinalizer(client, item, foreground);
      else
        for (const { object } of dependents)
          if (object.metadata.deletionTimestamp === undefined) wake(object.metadata.uid);
      return;
    }
    await collect(client, item);
  }

  return {
    name: 'garbage-collector',
    workers: 8,
    async start(context, enqueue) {
      wake = enqueue;
      const opened = await openMetadataGraph(context, (_resource, now, old) => {
        const uid = (now ?? old)?.metadata.uid ?? '';
        if (!now) {
          // Its dependents may go, and whoever waited for it may, too.
          enqueue(uid);
          for (const { uid: owner } of old?.metadata.ownerReferences ?? []) enqueue(owner);
          return;
        }
        if (old && old.metadata.uid !== uid) enqueue(old.metadata.uid);
        const { deletionTimestamp, finalizers, ownerReferences = [] } = now.metadata;
        if (deletionTimestamp !== undefined && finalizers) enqueue(uid);
        else if (ownerReferences.some((reference) => graph?.get(reference.uid) === undefined)) enqueue(uid);
        for (const reference of old?.metadata.ownerReferences ?? []) {
          if (!ownerReferences.some((one) => one.uid === reference.uid)) enqueue(reference.uid);
        }
      });
      graph = opened;
      for (const uid of opened.uids()) {
        const object = opened.get(uid)?.object;
        const { ownerReferences, deletionTimestamp } = object?.metadata ?? {};
        if (ownerReferences || deletionTimestamp !== undefined) enqueue(uid);
      }
    },
    keys: () => graph?.uids() ?? [],
    reconcile,
  };
}
