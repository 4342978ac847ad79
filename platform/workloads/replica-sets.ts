/** Makes, scales and removes the ReplicaSets of an app; each write is read back before the next look. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ReplicaSet } from '#cluster/kinds/types/apps.ts';
import type { Service } from '#cluster/kinds/types/core.ts';
import { replicaSets, services } from '../resources/kubernetes.ts';
import { segmentOf } from '../resources/segments.ts';
import * as types from '../resources/types.ts';
import { type InstanceInput, labelValue, portOf, replicaSetFor } from './pod-template.ts';
import { byGuid, generationOf, replicaSetsOf, spaceOfNamespace } from './reading.ts';
import { readKeptServices } from './kept-services.ts';
import { withSidecars } from './sidecar-containers.ts';
import type { WorkloadContext } from './workloads.ts';

const READ_BACK_MILLISECONDS = 10_000;

export interface Version {
  generation: number;
  droplet: string;
  revision: string;
}

export function findReplicaSet(
  context: WorkloadContext,
  process: Stored<types.Process>,
  generation: number,
): Stored<ReplicaSet> | undefined {
  return replicaSetsOf(context.informers, process.spec.app).find(
    (set) => set.metadata.labels?.[types.labels.process] === process.metadata.name && generationOf(set) === generation,
  );
}

/** The ReplicaSet of a process in a version, with so many replicas. Undefined while there is none: what it needs is not there, or it had no replica. */
export async function ensureReplicaSet(
  context: WorkloadContext,
  app: Stored<types.App>,
  process: Stored<types.Process>,
  version: Version,
  replicas: number,
): Promise<Stored<ReplicaSet> | undefined> {
  const existing = findReplicaSet(context, process, version.generation);
  if (existing) return scale(context, existing, replicas);
  // Nothing to run: it is made when there is, from what the process says then.
  if (replicas === 0) return undefined;
  const input = await instanceInput(context, app, process, version);
  if (!input) return undefined;
  await ensureService(context, input);
  let created: Stored<ReplicaSet>;
  try {
    created = await context.informers.client.create(replicaSets, withSidecars(replicaSetFor(input, replicas), input));
  } catch (error) {
    // Made by a run that died before it saw it: the informer will show it, and call again.
    if (error instanceof ApiError && error.reason === 'AlreadyExists') return undefined;
    throw error;
  }
  await readBack(context, created);
  return created;
}

async function instanceInput(
  context: WorkloadContext,
  app: Stored<types.App>,
  process: Stored<types.Process>,
  version: Version,
): Promise<InstanceInput | undefined> {
  const { informers } = context;
  const droplet = byGuid<types.Droplet>(informers, types.droplets, version.droplet);
  const revision = byGuid<types.Revision>(informers, types.revisions, version.revision);
  const place = placeOf(context, app);
  if (!droplet || !revision || !place) {
    context.log('warn', 'An app cannot run yet: its droplet, revision or space is not there', {
      app: app.metadata.name,
      droplet: version.droplet,
      revision: version.revision,
    });
    return undefined;
  }
  return {
    app,
    process,
    droplet,
    revision,
    generation: version.generation,
    ...place,
    services: await readKeptServices(context, revision),
    healthTimeout: context.defaults.healthCheckTimeout,
  };
}

/** Where an app is; undefined while its space is not known. */
export function placeOf(
  { informers, apiUrl }: WorkloadContext,
  app: Stored<types.App>,
): Pick<InstanceInput, 'space' | 'organization' | 'uris' | 'apiUrl' | 'segment'> | undefined {
  const space = spaceOfNamespace(informers, app.metadata.namespace ?? '');
  if (!space) return undefined;
  const uris = informers
    .of(types.routes)
    .byIndex('platform/app', app.metadata.name)
    .map(({ spec }) => `${spec.host === '' ? '' : `${spec.host}.`}${spec.domainName}${spec.path}`);
  const organization = byGuid<types.Organization>(informers, types.organizations, space.spec.organization);
  const segment = segmentOf(space, organization, (guid) => informers.of(types.isolationSegments).get(guid));
  return { space, organization, uris, apiUrl, segment };
}

export async function scale(
  context: WorkloadContext,
  set: Stored<ReplicaSet>,
  replicas: number,
): Promise<Stored<ReplicaSet>> {
  if ((set.spec?.replicas ?? 0) === replicas) return set;
  const scaled = await context.informers.client.patch(
    replicaSets,
    set.metadata.name,
    // Unconditional: nobody else scales these, while their status changes all the time.
    { type: 'merge', body: { metadata: { uid: set.metadata.uid }, spec: { replicas } } },
    { namespace: set.metadata.namespace ?? '' },
  );
  await readBack(context, scaled);
  return scaled;
}

/** Empties it and removes it when its last pod is gone. */
export async function retire(context: WorkloadContext, set: Stored<ReplicaSet>): Promise<void> {
  const emptied = await scale(context, set, 0);
  if ((emptied.status?.replicas ?? 0) > 0 || emptied.status?.observedGeneration !== emptied.metadata.generation) return;
  try {
    await context.informers.client.delete(replicaSets, set.metadata.name, {
      namespace: set.metadata.namespace ?? '',
      propagationPolicy: 'Background',
      preconditions: { uid: set.metadata.uid },
    });
  } catch (error) {
    if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}

async function readBack(context: WorkloadContext, object: Stored<ReplicaSet>): Promise<void> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(READ_BACK_MILLISECONDS)]);
  await context.informers.of(replicaSets).reached(object.metadata.resourceVersion, signal);
}

export function serviceName(process: string): string {
  return `proc-${process}`;
}

/** Headless: only its EndpointSlices are wanted. */
async function ensureService(context: WorkloadContext, input: InstanceInput): Promise<void> {
  const { process, app } = input;
  const port = portOf(input.droplet);
  const name = serviceName(process.metadata.name);
  const known = context.informers
    .of(services)
    .byIndex('platform/guid', name)
    .find((service) => service.metadata.namespace === app.metadata.namespace);
  if (known?.spec?.ports?.[0]?.port === port) return;
  const wanted: Service = {
    metadata: {
      name,
      namespace: app.metadata.namespace ?? '',
      labels: {
        [types.labels.app]: app.metadata.name,
        [types.labels.appName]: labelValue(app.spec.displayName),
        [types.labels.process]: process.metadata.name,
        [types.labels.processType]: labelValue(process.spec.type),
      },
      ownerReferences: [
        {
          apiVersion: 'platform.sampan.dev/v1',
          kind: 'App',
          name: app.metadata.name,
          uid: app.metadata.uid,
        },
      ],
    },
    spec: {
      clusterIP: 'None',
      selector: { [types.labels.process]: process.metadata.name },
      ports: [{ name: 'http', port, targetPort: port, protocol: 'TCP' }],
    },
  };
  try {
    await context.informers.client.create(services, wanted);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await context.informers.client.patch(
      services,
      name,
      { type: 'merge', body: { spec: { ports: wanted.spec?.ports } } },
      { namespace: app.metadata.namespace ?? '' },
    );
  }
}
