/**
 * Rolling deployments: how many instances each generation should have now, and when it is over.
 *
 * `plan` is pure. With N wanted, R of the new generation ready and M in flight: all old ones together get N - R, the new
 * one min(N, R + M) and no more than there is room for beside the old pods that are still there. So there are never fewer
 * than N ready (as long as the old ones are) nor more than N + M.
 *
 * A canary goes on like that as far as its step allows, and waits there (PAUSED) until somebody says to go on: to the next
 * step, and after the last to the end. While it waits no time runs out.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ReplicaSet } from '#cluster/kinds/types/apps.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { ApiError } from '#cluster/client/client.ts';
import { BoundedMap } from '#lib/bounded-map.ts';
import { worstStatus } from '../resources/instances.ts';
import { type App, type AppDeployment, appDeployments, apps, labels, type Process } from '../resources/types.ts';
import { byGuid, createdAt, generationOf, isReady, podsOf, processesOf, replicaSetsOf } from './reading.ts';
import { ensureReplicaSet, findReplicaSet, retire, scale } from './replica-sets.ts';
import { finish, settle } from './settle.ts';
import type { WorkloadContext } from './workloads.ts';

/** A container that ended this often will not come up. */
const CRASHES = 3;
/** For the image to be pulled and the pod to be placed, on top of the health timeout. */
const START_GRACE_SECONDS = 60;
/** Reasons of a waiting container that time does not heal. */
const HOPELESS = ['CreateContainerConfigError', 'InvalidImageName', 'ErrImageNeverPull', 'RunContainerError'];

export function plan(input: { wanted: number; ready: number; maxInFlight: number; oldPods: number }): {
  fresh: number;
  old: number;
} {
  const { wanted, ready, maxInFlight, oldPods } = input;
  const room = Math.max(ready, wanted + maxInFlight - oldPods);
  return { fresh: Math.min(wanted, ready + maxInFlight, room), old: Math.max(0, wanted - ready) };
}

export async function advanceDeployment(
  context: WorkloadContext,
  app: Stored<App>,
  deployment: Stored<AppDeployment>,
): Promise<number | undefined> {
  if (deployment.spec.cancelled) {
    await rollBack(context, app, deployment, undefined);
    return undefined;
  }
  const step = stepOf(deployment);
  const paused = deployment.status?.reason === 'PAUSED';
  if (paused && deployment.status?.step === step) return undefined;
  if (paused) {
    // Its time begins anew.
    const lastSuccessfulHealthcheck = new Date(context.now()).toISOString();
    await note(context, deployment, {
      reason: 'DEPLOYING',
      lastSuccessfulHealthcheck,
      ...(step === undefined ? {} : { step }),
    });
    return 1;
  }
  const failure = failureOf(context, deployment);
  if (failure) {
    await rollBack(context, app, deployment, failure);
    return undefined;
  }
  const { generation, droplet, revision } = deployment.spec;
  const processes = processesOf(context.informers, app.metadata.name);
  const share = step === undefined ? undefined : deployment.spec.canarySteps?.[step];
  let done = true;
  let reached = true;
  let readyTotal = 0;
  for (const process of processes) {
    const wanted = process.spec.instances;
    const ready = readyInstances(context, process, generation);
    readyTotal += Math.min(ready, wanted);
    const recreate = deployment.spec.strategy === 'recreate';
    const oldPods = oldInstances(context, process, generation);
    const target = recreate
      ? { fresh: wanted, old: 0 }
      : plan({ wanted, ready, maxInFlight: deployment.spec.maxInFlight, oldPods });
    const limit = limitOf(wanted, share);
    target.fresh = Math.min(target.fresh, limit);
    // What is tried on some of the requests leaves the others where they were.
    if (share !== undefined && share < 100) target.old = Math.max(target.old, Math.min(1, wanted));
    if (ready < limit) reached = false;
    const set = await ensureReplicaSet(
      context,
      app,
      process,
      { generation, droplet, revision: revision ?? '' },
      target.fresh,
    );
    if (wanted > 0 && (!set || ready < wanted)) done = false;
    await shrinkOld(context, app, process, generation, target.old);
  }
  if (done && share === undefined) {
    await complete(context, app, deployment);
    return undefined;
  }
  if (reached && share !== undefined && step !== undefined) {
    await note(context, deployment, { reason: 'PAUSED', step });
    return undefined;
  }
  await noteProgress(context, deployment, readyTotal);
  return Math.max(1_000, deadline(context, deployment) - context.now());
}

/** The step of a canary that it is at; undefined where nothing holds it. */
function stepOf(deployment: Stored<AppDeployment>): number | undefined {
  const passed = deployment.spec.continued ?? 0;
  return passed < (deployment.spec.canarySteps?.length ?? 0) ? passed : undefined;
}

/** How many new instances there may be. @param share  in hundredths; undefined: as many as are wanted */
export function limitOf(wanted: number, share: number | undefined): number {
  if (share === undefined) return wanted;
  return Math.min(wanted, Math.max(1, Math.round((wanted * share) / 100)));
}

function readyInstances(context: WorkloadContext, process: Stored<Process>, generation: number): number {
  return instances(context, process.spec.app, generation).filter(
    (pod) => pod.metadata.labels?.[labels.process] === process.metadata.name && isReady(pod),
  ).length;
}

function oldInstances(context: WorkloadContext, process: Stored<Process>, generation: number): number {
  return podsOf(context.informers, process.spec.app).filter(
    (pod) =>
      pod.metadata.labels?.[labels.process] === process.metadata.name &&
      generationOf(pod) !== generation &&
      pod.metadata.deletionTimestamp === undefined,
  ).length;
}

function instances(context: WorkloadContext, app: string, generation: number): Stored<Pod>[] {
  return podsOf(context.informers, app).filter(
    (pod) => generationOf(pod) === generation && pod.metadata.deletionTimestamp === undefined,
  );
}

/** The app's own generation is kept longest: it is what a failure falls back to. */
async function shrinkOld(
  context: WorkloadContext,
  app: Stored<App>,
  process: Stored<Process>,
  fresh: number,
  total: number,
): Promise<void> {
  const old = replicaSetsOf(context.informers, app.metadata.name)
    .filter((set) => set.metadata.labels?.[labels.process] === process.metadata.name && generationOf(set) !== fresh)
    .sort((a, b) => rank(b, app) - rank(a, app));
  let left = total;
  for (const set of old) {
    // Never grown here, except what a cancelled predecessor took from the app's own generation.
    const current = set.spec?.replicas ?? 0;
    const own = generationOf(set) === app.spec.generation;
    const replicas = own ? left : Math.min(left, current);
    left -= replicas;
    await scale(context, set, replicas);
  }
}

function rank(set: Stored<ReplicaSet>, app: Stored<App>): number {
  return generationOf(set) === app.spec.generation ? Number.MAX_SAFE_INTEGER : generationOf(set);
}

/** One write turns the app; the status follows, now or after a crash. */
async function complete(context: WorkloadContext, app: Stored<App>, deployment: Stored<AppDeployment>): Promise<void> {
  const { droplet, revision, generation } = deployment.spec;
  const stored = await context.informers.client.update(apps, {
    ...app,
    spec: {
      ...app.spec,
      currentDroplet: droplet,
      ...(revision === undefined ? {} : { currentRevision: revision }),
      generation,
    },
  });
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]);
  await context.informers.of(apps).reached(stored.metadata.resourceVersion, signal);
  await finish(context, deployment, { reason: 'DEPLOYED' });
  const turned = byGuid<App>(context.informers, apps, app.metadata.name);
  if (turned) await settle(context, turned);
}

/** The old generation gets all its instances back before the new one goes. */
async function rollBack(
  context: WorkloadContext,
  app: Stored<App>,
  deployment: Stored<AppDeployment>,
  error: string | undefined,
): Promise<void> {
  for (const process of processesOf(context.informers, app.metadata.name)) {
    const own = findReplicaSet(context, process, app.spec.generation);
    if (own) await scale(context, own, process.spec.instances);
    const fresh = findReplicaSet(context, process, deployment.spec.generation);
    if (fresh) await retire(context, fresh);
  }
  await finish(context, deployment, { reason: 'CANCELED', ...(error === undefined ? {} : { error }) });
  await settle(context, app);
}

/** Why it will not succeed, or undefined while it may. */
function failureOf(context: WorkloadContext, deployment: Stored<AppDeployment>): string | undefined {
  const fresh = instances(context, deployment.spec.app, deployment.spec.generation);
  for (const pod of fresh) {
    if (isReady(pod)) continue;
    const status = worstStatus(pod);
    const { waiting } = status?.state ?? {};
    if (waiting?.reason && HOPELESS.includes(waiting.reason)) {
      return `A new instance cannot start: ${waiting.reason}${waiting.message ? `: ${waiting.message}` : ''}`;
    }
    if (status && status.restartCount >= CRASHES) {
      return `A new instance crashed ${status.restartCount} times: ${lastEnd(pod)}`;
    }
    const ended = status?.state?.terminated ?? status?.lastState?.terminated;
    const lived = (Date.parse(ended?.finishedAt ?? '') - Date.parse(ended?.startedAt ?? '')) / 1000;
    // It was killed because it was not healthy in time: another attempt would take as long.
    if (lived >= timeoutSeconds(context, deployment) - 1) {
      return `A new instance was not healthy within ${timeoutSeconds(context, deployment)} s: does it listen on $PORT?`;
    }
  }
  if (context.now() < deadline(context, deployment)) return undefined;
  const waiting = fresh.find((pod) => !isReady(pod));
  return `No new instance became healthy within ${timeoutSeconds(context, deployment)} s${waiting ? `: ${stateOf(waiting)}` : ''}`;
}

function lastEnd(pod: Pod): string {
  const status = worstStatus(pod);
  const ended = status?.state?.terminated ?? status?.lastState?.terminated;
  if (!ended) return 'unknown reason';
  return ended.reason === 'OOMKilled'
    ? `out of memory (exit status ${ended.exitCode})`
    : `exit status ${ended.exitCode}`;
}

function stateOf(pod: Pod): string {
  const status = worstStatus(pod);
  const { waiting, running } = status?.state ?? {};
  if (waiting?.reason) return waiting.message ? `${waiting.reason}: ${waiting.message}` : waiting.reason;
  if ((status?.restartCount ?? 0) > 0) return lastEnd(pod);
  if (running) return 'it runs, and its health check fails: does it listen on $PORT?';
  const scheduled = pod.status?.conditions?.find((condition) => condition.type === 'PodScheduled');
  if (scheduled?.status === 'False') return `insufficient resources: ${scheduled.message ?? 'no node has room'}`;
  return 'its container was not started';
}

function timeoutSeconds(context: WorkloadContext, deployment: Stored<AppDeployment>): number {
  const timeouts = processesOf(context.informers, deployment.spec.app)
    .filter((process) => process.spec.instances > 0)
    .map((process) => process.spec.healthCheck.timeout ?? context.defaults.healthCheckTimeout);
  return timeouts.length === 0 ? context.defaults.healthCheckTimeout : Math.max(...timeouts);
}

/** From the last instance that became healthy, or from the beginning. */
function deadline(context: WorkloadContext, deployment: Stored<AppDeployment>): number {
  const last = deployment.status?.lastSuccessfulHealthcheck;
  const since = last === undefined ? createdAt(deployment) : Date.parse(last);
  return since + (timeoutSeconds(context, deployment) + START_GRACE_SECONDS) * 1000;
}

const progress = new WeakMap<WorkloadContext, BoundedMap<string, number>>();
/** Of one that is forgotten it is counted anew. */
const MOST_COUNTED = 1000;

/** Writes when there are more healthy instances than ever; a restart of the platform starts to count again. */
async function noteProgress(context: WorkloadContext, deployment: Stored<AppDeployment>, ready: number): Promise<void> {
  let seen = progress.get(context);
  if (!seen) progress.set(context, (seen = new BoundedMap(MOST_COUNTED)));
  const best = seen.get(deployment.metadata.name) ?? 0;
  if (ready <= best && deployment.status?.value === 'ACTIVE') return;
  seen.set(deployment.metadata.name, Math.max(best, ready));
  const now = new Date(context.now()).toISOString();
  const step = stepOf(deployment);
  await note(context, deployment, {
    reason: 'DEPLOYING',
    lastStatusChange: deployment.status?.lastStatusChange ?? now,
    ...(step === undefined ? {} : { step }),
    ...(ready > best ? { lastSuccessfulHealthcheck: now } : {}),
  });
}

/** Who wrote meanwhile wakes us again. */
async function note(
  context: WorkloadContext,
  deployment: Stored<AppDeployment>,
  change: Omit<NonNullable<AppDeployment['status']>, 'value'>,
): Promise<void> {
  const lastStatusChange = new Date(context.now()).toISOString();
  try {
    await context.informers.client.updateStatus(appDeployments, {
      ...deployment,
      status: { ...deployment.status, value: 'ACTIVE', lastStatusChange, ...change },
    });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'Conflict') throw error;
  }
}
