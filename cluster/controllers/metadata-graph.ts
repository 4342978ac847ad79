/**
 * The metadata of every object that can be deleted, custom resources too, with an index of who owns whom. Only what
 * garbage collection asks for is kept.
 */
import { ApiError, type ClientObject, type Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { ResourceRef, Stored } from '../kinds/kind.ts';
import { customResourceDefinitions } from '../kinds/resources.ts';
import type { ControllerContext } from './controller.ts';
import { discoverResources } from './discover.ts';
import { openInformer } from './objects.ts';

export interface GraphObject {
  resource: ResourceRef;
  object: Stored<ClientObject>;
}

export interface MetadataGraph {
  get(uid: string): GraphObject | undefined;
  /** Objects that name the uid among their owners. */
  dependents(uid: string): GraphObject[];
  /** The served resource of a kind; undefined when there is none. */
  resourceOf(apiVersion: string, kind: string): ResourceRef | undefined;
  uids(): Iterable<string>;
}

/** Changed by every node every few seconds, or many and short-lived: nobody owns anything through them. */
const ignored = new Set(['events', 'events.events.k8s.io', 'leases.coordination.k8s.io']);

/** Keeps what identifies an object and whom it belongs to. */
function bareMetadata(object: Stored<ClientObject>): Stored<ClientObject> {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, finalizers, ownerReferences } =
    object.metadata;
  return {
    metadata: {
      name,
      uid,
      resourceVersion,
      creationTimestamp,
      ...(namespace !== undefined && { namespace }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
      ...(finalizers && { finalizers }),
      ...(ownerReferences && { ownerReferences }),
    },
  };
}

function groupName({ group, resource }: ResourceRef): string {
  return group === '' ? resource : `${resource}.${group}`;
}

/** @param onChange  as an informer's, for all resources, once the first lists are in */
export async function openMetadataGraph(
  context: ControllerContext,
  onChange: (
    resource: ResourceRef,
    now: Stored<ClientObject> | undefined,
    old: Stored<ClientObject> | undefined,
  ) => void,
): Promise<MetadataGraph> {
  const { client, signal, log } = context;
  const objects = new Map<string, GraphObject>();
  const owned = new Map<string, Set<string>>();
  const informers = new Map<string, { resource: ResourceRef; informer: Informer<ClientObject> }>();
  let complete = false;

  function setOwners(object: Stored<ClientObject>, present: boolean): void {
    const { uid, ownerReferences = [] } = object.metadata;
    for (const { uid: owner } of ownerReferences) {
      const set = owned.get(owner) ?? new Set();
      if (present) owned.set(owner, set.add(uid));
      else set.delete(uid);
      if (set.size === 0) owned.delete(owner);
    }
  }

  function open(resource: ResourceRef): Informer<ClientObject> {
    const informer = createInformer<ClientObject>(client, resource, {
      transform: bareMetadata,
      onError: (error) => {
        // A definition that was removed: `refresh` closes the informer.
        if (!(error instanceof ApiError && error.code === 404))
          log('warn', `garbage collector: watch of ${groupName(resource)}: ${String(error)}`);
      },
    });
    informer.onChange((now, old) => {
      if (old) {
        setOwners(old, false);
        objects.delete(old.metadata.uid);
      }
      if (now) {
        setOwners(now, true);
        objects.set(now.metadata.uid, { resource, object: now });
      }
      if (complete) onChange(resource, now, old);
    });
    return informer;
  }

  let refreshing = Promise.resolve();
  /** Opens an informer for each resource that is new, closes those of resources that are served no more. */
  async function refresh(): Promise<void> {
    const served = (await discoverResources(client)).filter((resource) => !ignored.has(groupName(resource)));
    const names = new Set(served.map(groupName));
    for (const [name, { resource, informer }] of informers) {
      if (names.has(name)) continue;
      informers.delete(name);
      const left = informer.list();
      informer.close();
      for (const object of left) {
        setOwners(object, false);
        objects.delete(object.metadata.uid);
        if (complete) onChange(resource, undefined, object);
      }
    }
    const opened = served.filter((resource) => !informers.has(groupName(resource)));
    for (const resource of opened) informers.set(groupName(resource), { resource, informer: open(resource) });
    await Promise.all(opened.map((resource) => informers.get(groupName(resource))?.informer.synced));
  }

  const definitions = openInformer(context, customResourceDefinitions);
  await definitions.synced;
  await refresh();
  complete = true;
  signal.addEventListener('abort', () => {
    for (const { informer } of informers.values()) informer.close();
  });
  definitions.onChange((now, old) => {
    const established = (definition: typeof now): string =>
      JSON.stringify([
        definition?.spec.versions.map(({ name, served }) => [name, served]),
        definition?.status?.conditions?.find(({ type }) => type === 'Established')?.status,
      ]);
    if (now && old && established(now) === established(old)) return;
    refreshing = refreshing.then(refresh).catch((error: unknown) => {
      if (!signal.aborted) log('warn', `garbage collector: discovery failed: ${String(error)}`);
    });
  });

  return {
    get: (uid) => objects.get(uid),
    dependents: (uid) => [...(owned.get(uid) ?? [])].flatMap((dependent) => objects.get(dependent) ?? []),
    resourceOf(apiVersion, kind) {
      const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
      for (const { resource } of informers.values())
        if (resource.group === group && resource.kind === kind) return resource;
      return undefined;
    },
    uids: () => objects.keys(),
  };
}
