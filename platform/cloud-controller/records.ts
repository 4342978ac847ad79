/** The platform's objects as the cloud controller reads and writes them: reads from informers, writes that are read back. */
import { isDeepStrictEqual } from 'node:util';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client, type ClientObject, type DeleteOptions, type Informer } from '#cluster/client/client.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { OwnerReference } from '#cluster/kinds/types/meta.ts';
import * as events from '../resources/event-types.ts';
import type { Informers } from '../resources/informers.ts';
import { pods } from '../resources/kubernetes.ts';
import * as services from '../resources/service-types.ts';
import * as types from '../resources/types.ts';
import { Ordered } from '../resources/ordered.ts';

const MAX_CONFLICTS = 10;
const READ_BACK_MILLISECONDS = 10_000;

export class Collection<T extends ClientObject> {
  readonly resource: TypedResource<T>;
  readonly informer: Informer<T>;
  readonly #client: Client;
  readonly #ordered: Ordered<T>;

  constructor(client: Client, resource: TypedResource<T>, informer: Informer<T>) {
    this.#client = client;
    this.resource = resource;
    this.informer = informer;
    this.#ordered = new Ordered(informer, orderKey);
  }

  get(guid: string): Stored<T> | undefined {
    const known = this.informer.byIndex('platform/guid', guid);
    // Of one that is being moved the new one counts as soon as it is there.
    return known.find((object) => leavingTo(object) === undefined) ?? known[0];
  }

  /** As `get`, of what is in no namespace and may have been written by others a moment ago. */
  async find(guid: string): Promise<Stored<T> | undefined> {
    const known = this.get(guid);
    if (known) return known;
    const stored = await orUndefined(this.#client.get(this.resource, guid));
    if (stored) await this.#reached(stored);
    return stored;
  }

  /** In the order in which they were made. */
  all(): Stored<T>[] {
    return this.#ordered.all();
  }

  ofApp(app: string): Stored<T>[] {
    return this.informer.byIndex('platform/app', app);
  }

  inNamespace(namespace: string): Stored<T>[] {
    return this.informer.byIndex('platform/namespace', namespace);
  }

  async create(object: T): Promise<Stored<T>> {
    const stamped = stamp(object, types.annotations.createdAt);
    const stored = await this.#client.create(this.resource, stamped);
    await this.#reached(stored);
    return stored;
  }

  /**
   * Applies `change` to the newest version, again when somebody else wrote meanwhile. Undefined from it, or what is there
   * already: nothing to do, and nothing is written.
   */
  async modify(guid: string, change: (current: T) => T | undefined): Promise<Stored<T>> {
    let current = this.#known(guid);
    for (let attempt = 0; ; attempt++) {
      if (leavingTo(current) !== undefined) current = await this.#arrived(guid);
      const changed = change(structuredClone(current));
      if (!changed || isDeepStrictEqual(changed, current)) return current;
      try {
        const stored = await this.#client.update(this.resource, stamp(changed, types.annotations.updatedAt));
        await this.#reached(stored);
        return stored;
      } catch (error) {
        if (!isConflict(error) || attempt >= MAX_CONFLICTS) throw error;
        current = await this.#client.get(this.resource, guid, current.metadata.namespace);
      }
    }
  }

  async modifyStatus(guid: string, change: (current: T) => T | undefined): Promise<Stored<T>> {
    let current = this.#known(guid);
    for (let attempt = 0; ; attempt++) {
      const changed = change(structuredClone(current));
      if (!changed) return current;
      try {
        const stored = await this.#client.updateStatus(this.resource, changed);
        await this.#reached(stored);
        return stored;
      } catch (error) {
        if (!isConflict(error) || attempt >= MAX_CONFLICTS) throw error;
        current = await this.#client.get(this.resource, guid, current.metadata.namespace);
      }
    }
  }

  /** Resolves when the informer no longer has it; a missing one is fine. */
  async delete(guid: string, options: Omit<DeleteOptions, 'namespace'> = {}): Promise<void> {
    const current = this.get(guid);
    if (current) await this.#remove(current, options);
  }

  /**
   * Puts an object into another namespace under the same guid, as `change` makes it, in steps that `finishMoves` goes on with after a
   * crash: the old one says where it goes, the new one is made, the old one is deleted. One of both counts at any moment.
   */
  async move(guid: string, namespace: string, change: Moved<T>): Promise<Stored<T>> {
    const leaving = await this.modify(guid, (current) => {
      const annotations = { ...current.metadata.annotations, [types.annotations.leaving]: namespace };
      return { ...current, metadata: { ...current.metadata, annotations } };
    });
    return this.#arrive(leaving, namespace, change);
  }

  async finishMoves(change: Moved<T>): Promise<void> {
    for (const object of [...this.all()]) {
      const namespace = leavingTo(object);
      if (namespace !== undefined) await this.#arrive(object, namespace, change);
    }
  }

  async #arrive(leaving: Stored<T>, namespace: string, change: Moved<T>): Promise<Stored<T>> {
    const { [types.annotations.leaving]: _place, ...annotations } = leaving.metadata.annotations ?? {};
    const { name, labels = {} } = leaving.metadata;
    const copy = change({ ...leaving, metadata: { name, namespace, labels, annotations } }, leaving);
    let arrived: Stored<T>;
    try {
      arrived = await this.#client.create(this.resource, stamp(copy, types.annotations.updatedAt));
    } catch (error) {
      if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') {
        const body = { metadata: { annotations: { [types.annotations.leaving]: null } } };
        const place = leaving.metadata.namespace;
        await this.#client.patch(this.resource, name, { type: 'merge', body }, place ? { namespace: place } : {});
        throw error;
      }
      arrived = await this.#client.get(this.resource, name, namespace);
    }
    await this.#reached(arrived);
    await this.#remove(leaving);
    return arrived;
  }

  /** Resolves with the one in the new namespace, or the old one where it stays. */
  async #arrived(guid: string): Promise<Stored<T>> {
    const settled = Promise.withResolvers<void>();
    const look = () => {
      const current = this.get(guid);
      if (!current || leavingTo(current) === undefined) settled.resolve();
    };
    const stop = this.informer.onChange(look);
    try {
      look();
      await withTimeout(settled.promise, `change ${this.resource.resource}/${guid}`, 'being moved');
      return this.#known(guid);
    } finally {
      stop();
    }
  }

  async #remove(current: Stored<T>, options: Omit<DeleteOptions, 'namespace'> = {}): Promise<void> {
    const { name, namespace, uid } = current.metadata;
    const gone = Promise.withResolvers<void>();
    const stop = this.informer.onChange((now, old) => {
      if (!now && old?.metadata.uid === uid) gone.resolve();
    });
    try {
      await this.#client.delete(this.resource, name, {
        propagationPolicy: 'Background',
        ...options,
        ...(namespace === undefined ? {} : { namespace }),
      });
      if (this.informer.get(name, namespace)?.metadata.uid === uid) {
        await withTimeout(gone.promise, `delete ${this.resource.resource}/${name}`, 'still there');
      }
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
    } finally {
      stop();
    }
  }

  #known(guid: string): Stored<T> {
    const current = this.get(guid);
    if (!current) throw new ApiError(404, 'NotFound', `${this.resource.resource} "${guid}" not found`);
    return current;
  }

  async #reached(stored: Stored<T>): Promise<void> {
    await this.informer.reached(stored.metadata.resourceVersion, AbortSignal.timeout(READ_BACK_MILLISECONDS));
  }
}

/** What is made of an object in its new namespace; `old` is the one before. */
type Moved<T extends ClientObject> = (copy: T, old: Stored<T>) => T;

/** Where an object is being moved to. */
function leavingTo(object: ClientObject): string | undefined {
  return object.metadata.annotations?.[types.annotations.leaving];
}

async function withTimeout(promise: Promise<void>, action: string, state: string): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`Cannot ${action}: it is ${state} after 10 s`)), 10_000);
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'Conflict';
}

function stamp<T extends ClientObject>(object: T, annotation: string): T {
  return {
    ...object,
    metadata: {
      ...object.metadata,
      annotations: { ...object.metadata.annotations, [annotation]: new Date().toISOString() },
    },
  };
}

export class Records {
  readonly organizations: Collection<types.Organization>;
  readonly spaces: Collection<types.Space>;
  readonly isolationSegments: Collection<types.IsolationSegment>;
  readonly organizationQuotas: Collection<types.OrganizationQuota>;
  readonly spaceQuotas: Collection<types.SpaceQuota>;
  readonly domains: Collection<types.Domain>;
  readonly domainCertificates: Collection<types.DomainCertificate>;
  readonly reservations: Collection<types.Reservation>;
  readonly users: Collection<types.User>;
  readonly roles: Collection<types.Role>;
  readonly featureFlags: Collection<types.FeatureFlag>;
  readonly catalogEntries: Collection<types.CatalogEntry>;
  readonly buildpacks: Collection<types.Buildpack>;
  readonly apps: Collection<types.App>;
  readonly packages: Collection<types.Package>;
  readonly builds: Collection<types.Build>;
  readonly droplets: Collection<types.Droplet>;
  readonly processes: Collection<types.Process>;
  readonly sidecars: Collection<types.Sidecar>;
  readonly securityGroups: Collection<types.SecurityGroup>;
  readonly appConnections: Collection<types.AppConnection>;
  readonly routes: Collection<types.Route>;
  readonly revisions: Collection<types.Revision>;
  readonly deployments: Collection<types.AppDeployment>;
  readonly tasks: Collection<types.Task>;
  readonly serviceBrokers: Collection<services.ServiceBroker>;
  readonly serviceOfferings: Collection<services.ServiceOffering>;
  readonly servicePlans: Collection<services.ServicePlan>;
  readonly serviceOrphans: Collection<services.ServiceOrphan>;
  readonly serviceInstances: Collection<services.ServiceInstance>;
  readonly serviceBindings: Collection<services.ServiceBinding>;
  readonly auditEvents: Collection<events.AuditEvent>;
  readonly appUsageEvents: Collection<events.AppUsageEvent>;
  readonly serviceUsageEvents: Collection<events.ServiceUsageEvent>;
  readonly pods: Informer<Pod>;
  #spaceOfNamespace: Map<string, Stored<types.Space>> | undefined;

  constructor(informers: Informers) {
    const collection = <T extends ClientObject>(resource: TypedResource<T>) =>
      new Collection(informers.client, resource, informers.of(resource));
    this.organizations = collection(types.organizations);
    this.spaces = collection(types.spaces);
    this.isolationSegments = collection(types.isolationSegments);
    this.organizationQuotas = collection(types.organizationQuotas);
    this.spaceQuotas = collection(types.spaceQuotas);
    this.domains = collection(types.domains);
    this.domainCertificates = collection(types.domainCertificates);
    this.reservations = collection(types.reservations);
    this.users = collection(types.users);
    this.roles = collection(types.roles);
    this.featureFlags = collection(types.featureFlags);
    this.catalogEntries = collection(types.catalogEntries);
    this.buildpacks = collection(types.buildpacks);
    this.apps = collection(types.apps);
    this.packages = collection(types.packages);
    this.builds = collection(types.builds);
    this.droplets = collection(types.droplets);
    this.processes = collection(types.processes);
    this.sidecars = collection(types.sidecars);
    this.securityGroups = collection(types.securityGroups);
    this.appConnections = collection(types.appConnections);
    this.routes = collection(types.routes);
    this.revisions = collection(types.revisions);
    this.deployments = collection(types.appDeployments);
    this.tasks = collection(types.tasks);
    this.serviceBrokers = collection(services.serviceBrokers);
    this.serviceOfferings = collection(services.serviceOfferings);
    this.servicePlans = collection(services.servicePlans);
    this.serviceOrphans = collection(services.serviceOrphans);
    this.serviceInstances = collection(services.serviceInstances);
    this.serviceBindings = collection(services.serviceBindings);
    this.auditEvents = collection(events.auditEvents);
    this.appUsageEvents = collection(events.appUsageEvents);
    this.serviceUsageEvents = collection(events.serviceUsageEvents);
    this.pods = informers.of(pods);
    this.spaces.informer.onChange(() => {
      this.#spaceOfNamespace = undefined;
    });
  }

  /** The space that an object of a namespace is in. */
  spaceOf(object: ClientObject): Stored<types.Space> | undefined {
    this.#spaceOfNamespace ??= new Map(this.spaces.all().map((space) => [space.spec.namespace, space]));
    return this.#spaceOfNamespace.get(object.metadata.namespace ?? '');
  }
}

/** Makes `object` go with `app`. */
export function ownedBy(app: Stored<types.App>): OwnerReference[] {
  return [{ apiVersion: 'platform.sampan.dev/v1', kind: 'App', name: app.metadata.name, uid: app.metadata.uid }];
}

export function createdAt(object: Stored<ClientObject>): string {
  return object.metadata.annotations?.[types.annotations.createdAt] ?? object.metadata.creationTimestamp;
}

/** Times are of one form, so that their text has their order. */
function orderKey(object: Stored<ClientObject>): string {
  return `${createdAt(object)} ${object.metadata.name} ${object.metadata.namespace ?? ''}`;
}

export function updatedAt(object: Stored<ClientObject>): string {
  return object.metadata.annotations?.[types.annotations.updatedAt] ?? createdAt(object);
}
