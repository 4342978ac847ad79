/** Keeps what an app's past may be asked for, and removes the rest; removes destinations whose app is gone. */
import { ApiError, type ClientObject } from '#cluster/client/client.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import { isActive } from '../resources/deployments.ts';
import {
  type App,
  appDeployments,
  apps,
  builds,
  droplets,
  packages,
  revisions,
  routes,
  tasks,
} from '../resources/types.ts';
import { secrets } from '../resources/kubernetes.ts';
import { byGuid, createdAt } from './reading.ts';
import { hasEnded } from './tasks.ts';
import type { WorkloadContext } from './workloads.ts';

const KEEP_REVISIONS = 100;
/** Of those that nobody is shown: pods of one that was replaced a moment ago may need it still. */
const KEEP_UNSHOWN = 5;
const KEEP_DROPLETS = 5;
const KEEP_PACKAGES = 5;
const KEEP_BUILDS = 20;
const KEEP_DEPLOYMENTS = 100;
const KEEP_TASKS = 200;

export async function pruneApp(context: WorkloadContext, guid: string): Promise<void> {
  const { informers } = context;
  const app = byGuid<App>(informers, apps, guid);
  if (!app || app.metadata.deletionTimestamp !== undefined) return;
  const newestFirst = <T extends ClientObject>(resource: TypedResource<T>) =>
    informers
      .of(resource)
      .byIndex('platform/app', guid)
      .sort((a, b) => createdAt(b) - createdAt(a));
  const usedRevisions = new Set([app.spec.currentRevision]);
  const usedDroplets = new Set([app.spec.currentDroplet]);
  for (const deployment of newestFirst(appDeployments)) {
    if (!isActive(deployment)) continue;
    usedRevisions.add(deployment.spec.revision);
    usedDroplets.add(deployment.spec.droplet);
  }
  const current = byGuid(informers, revisions, app.spec.currentRevision) as
    | Stored<{ metadata: App['metadata']; spec: { droplet: string } }>
    | undefined;
  usedDroplets.add(current?.spec.droplet);
  for (const task of newestFirst(tasks)) if (!hasEnded(task)) usedDroplets.add(task.spec.droplet);
  const { shown = [], unshown = [] } = Object.groupBy(newestFirst(revisions), ({ spec }) =>
    spec.version > 0 ? 'shown' : 'unshown',
  );
  const old = [...shown.slice(KEEP_REVISIONS), ...unshown.slice(KEEP_UNSHOWN)];
  for (const revision of old) {
    if (usedRevisions.has(revision.metadata.name)) continue;
    for (const prefix of ['env-', 'env-running-', 'env-services-']) {
      await remove(context, secrets, `${prefix}${revision.metadata.name}`, revision.metadata.namespace);
    }
    await remove(context, revisions, revision.metadata.name, revision.metadata.namespace);
  }
  const kept = newestFirst(droplets);
  for (const droplet of kept.slice(KEEP_DROPLETS)) {
    if (!usedDroplets.has(droplet.metadata.name)) {
      await remove(context, droplets, droplet.metadata.name, droplet.metadata.namespace);
    }
  }
  const ofDroplets = new Set(kept.slice(0, KEEP_DROPLETS).map((droplet) => droplet.spec.package));
  const staging = newestFirst(builds).filter((build) => (build.status?.state ?? 'STAGING') === 'STAGING');
  for (const build of staging) ofDroplets.add(build.spec.package);
  for (const item of newestFirst(packages).slice(KEEP_PACKAGES)) {
    if (ofDroplets.has(item.metadata.name)) continue;
    await remove(context, packages, item.metadata.name, item.metadata.namespace);
    const login = item.spec.docker?.passwordSecret;
    const used = newestFirst(droplets).some(({ spec }) => spec.pullSecret === login);
    if (login !== undefined && !used) await remove(context, secrets, login, item.metadata.namespace);
  }
  for (const build of newestFirst(builds).slice(KEEP_BUILDS)) {
    if (build.status?.state !== undefined && build.status.state !== 'STAGING') {
      await remove(context, secrets, `env-staging-${build.metadata.name}`, build.metadata.namespace);
      await remove(context, builds, build.metadata.name, build.metadata.namespace);
    }
  }
  for (const task of newestFirst(tasks).filter(hasEnded).slice(KEEP_TASKS)) {
    for (const prefix of ['env-running-', 'env-services-']) {
      await remove(context, secrets, `${prefix}${task.metadata.name}`, task.metadata.namespace);
    }
    await remove(context, tasks, task.metadata.name, task.metadata.namespace);
  }
  for (const deployment of newestFirst(appDeployments).slice(KEEP_DEPLOYMENTS)) {
    if (deployment.status?.value === 'FINALIZED') {
      await remove(context, appDeployments, deployment.metadata.name, deployment.metadata.namespace);
    }
  }
}

/** An app that was deleted while its routes were not told. */
export async function mendRoute(context: WorkloadContext, guid: string): Promise<void> {
  const { informers } = context;
  const route = informers.of(routes).byIndex('platform/guid', guid)[0];
  if (!route) return;
  const destinations = route.spec.destinations.filter((destination) => byGuid(informers, apps, destination.app));
  if (destinations.length === route.spec.destinations.length) return;
  await informers.client.update(routes, { ...route, spec: { ...route.spec, destinations } });
}

async function remove<T extends ClientObject>(
  context: WorkloadContext,
  resource: TypedResource<T>,
  name: string,
  namespace: string | undefined,
): Promise<void> {
  try {
    await context.informers.client.delete(resource, name, namespace === undefined ? {} : { namespace });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
}
