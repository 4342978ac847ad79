/**
 * One informer for each resource, shared by everything in the platform process: the cloud controller, the workload
 * controllers and whoever else is given this object read the same copies over one watch each.
 */
import type { Client, ClientObject, Informer } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { sharedInformer } from '#cluster/client/shared-informer.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import * as events from './event-types.ts';
import { replicaSets, pods as podResource, services as serviceResource } from './kubernetes.ts';
import * as services from './service-types.ts';
import * as types from './types.ts';

/** Every informer here has the indexes `platform/guid` (by name alone), `platform/app` (guid of its app; of a route those it leads to) and `platform/namespace`. */
export interface Informers {
  readonly client: Client;
  of<T extends ClientObject>(resource: TypedResource<T>): Informer<T>;
  /** Pods of tasks: those of `of(pods)` are instances of processes. */
  readonly taskPods: Informer<Pod>;
  /** Opens those of the platform's own kinds and resolves when each has its first list. */
  synced(): Promise<void>;
  close(): void;
}

const OWN = [
  types.organizations,
  types.spaces,
  types.isolationSegments,
  types.organizationQuotas,
  types.spaceQuotas,
  types.domains,
  types.domainCertificates,
  types.reservations,
  types.users,
  types.roles,
  types.featureFlags,
  types.catalogEntries,
  types.buildpacks,
  types.apps,
  types.packages,
  types.builds,
  types.droplets,
  types.processes,
  types.sidecars,
  types.securityGroups,
  types.appConnections,
  types.routes,
  types.revisions,
  types.appDeployments,
  types.tasks,
  services.serviceBrokers,
  services.serviceOfferings,
  services.servicePlans,
  services.serviceOrphans,
  services.serviceInstances,
  services.serviceBindings,
  events.auditEvents,
  events.appUsageEvents,
  events.serviceUsageEvents,
] as const;

function appsOf(object: ClientObject): string[] {
  const spec = (object as { spec?: { app?: unknown; destinations?: types.Destination[] } }).spec;
  if (spec?.destinations !== undefined) return [...new Set(spec.destinations.map(({ app }) => app))];
  const app = typeof spec?.app === 'string' ? spec.app : object.metadata.labels?.[types.labels.app];
  return app === undefined ? [] : [app];
}

function indexesOf<T extends ClientObject>() {
  return {
    'platform/guid': (object: Stored<T>) => [object.metadata.name],
    'platform/app': appsOf,
    'platform/namespace': (object: Stored<T>) => [object.metadata.namespace ?? ''],
  };
}

export function createInformers(client: Client, options: { onError?: (error: unknown) => void } = {}): Informers {
  const open = new Map<string, Informer<ClientObject>>();
  const labelled = <T extends ClientObject>(resource: TypedResource<T>, labelSelector: string): Informer<T> =>
    createInformer(client, resource, {
      labelSelector,
      indexes: indexesOf<T>(),
      ...(options.onError ? { onError: options.onError } : {}),
    });
  const of = <T extends ClientObject>(resource: TypedResource<T>): Informer<T> => {
    const key = `${resource.group}/${resource.resource}`;
    const known = open.get(key) as Informer<T> | undefined;
    let informer: Informer<T>;
    if (known) informer = known;
    else {
      // Of built-in kinds only what runs apps is of interest: other tenants of the cluster cost nothing here.
      informer =
        resource.group === 'platform.sampan.dev'
          ? sharedInformer(client, resource, indexesOf<T>(), options.onError)
          : labelled(resource, types.labels.process);
      open.set(key, informer as unknown as Informer<ClientObject>);
    }
    return informer;
  };
  let taskPods: Informer<Pod> | undefined;
  return {
    client,
    of,
    get taskPods() {
      taskPods ??= labelled(podResource, types.labels.task);
      return taskPods;
    },
    synced: async () => {
      const all: Promise<void>[] = OWN.map((resource) => of(resource as TypedResource<ClientObject>).synced);
      all.push(of(podResource).synced, of(replicaSets).synced, of(serviceResource).synced);
      await Promise.all(all);
    },
    close: () => {
      for (const informer of open.values()) informer.close();
      taskPods?.close();
      open.clear();
    },
  };
}
