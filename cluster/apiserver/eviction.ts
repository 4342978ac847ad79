/** `pods/eviction`: a delete that asks the pod's disruption budget first (API-initiated eviction). */
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { podDisruptionBudgets, pods } from '../kinds/resources.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { Eviction, PodDisruptionBudget } from '../kinds/types/policy.ts';
import { admitSent } from './admission/sent.ts';
import { readWriteOptions, type WriteOptions } from './admit.ts';
import { kindPrefix, objectKey, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { deleteObject, deleteOptions } from './delete.ts';
import { badRequest, forbidden, methodNotAllowed, noSuchPath, notFound, StatusError } from './errors.ts';
import { type Exchange, sendJson, success } from './exchange.ts';
import { parseObject } from './object-bytes.ts';
import { objectIn, readObject } from './read-body.ts';
import type { ResourceRequest } from './route.ts';
import { timestamp } from './timestamp.ts';
import { changeObject } from './update.ts';

const REFUSED = "Cannot evict pod as it would violate the pod's disruption budget.";
/** Pods that were evicted and are not gone yet; more are not remembered. */
const DISRUPTED_LIMIT = 2000;
const RETRY_AFTER = 10;

export async function evict(core: Core, exchange: Exchange, request: ResourceRequest): Promise<void> {
  if (request.verb !== 'create') throw methodNotAllowed();
  const options = readWriteOptions(exchange, 'CreateOptions');
  const body = await readObject(exchange);
  const named = (body['metadata'] as ApiObject['metadata'] | undefined)?.name;
  if (named !== undefined && named !== request.name)
    throw badRequest('name in URL does not match name in Eviction object');
  const { options: asked, dryRun } = deleteOptions(objectIn(body['deleteOptions'] ?? {}), new URLSearchParams());
  options.dryRun ||= dryRun;
  const kind = kindOf(core, pods);
  const { namespace, name } = request;
  await admitSent(core, { kind, namespace, name, subresource: 'eviction' }, body as Partial<Eviction>, options);
  const cached = core.cache.resource(kindPrefix(kind)).objects.get(objectKey(kind, namespace, name));
  if (cached === undefined) throw notFound(kind, name);
  const pod = objectOf(cached) as Pod;
  if (hurts(pod)) await askBudget(core, pod, options);
  const marked = await markDisrupted(core, kind, pod, asked.preconditions?.resourceVersion, options);
  // Of the pod that was looked at, and of no other that came since under its name.
  const { uid, resourceVersion } = { uid: pod.metadata.uid, ...asked.preconditions };
  const preconditions = {
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion: marked ?? resourceVersion }),
  };
  await deleteObject(core, kind, request, { ...asked, preconditions }, { ...options, admitted: true });
  sendJson(exchange, 201, { ...success(), code: 201 });
}

/** A pod that does not run yet, or no more, is missed by nobody. */
function hurts({ metadata, status }: Pod): boolean {
  return (
    status?.phase !== 'Pending' &&
    status?.phase !== 'Succeeded' &&
    status?.phase !== 'Failed' &&
    !metadata.deletionTimestamp
  );
}

/** Throws 429 where the budget has nothing left. */
async function askBudget(core: Core, pod: Pod, options: WriteOptions): Promise<void> {
  const kind = kindOf(core, podDisruptionBudgets);
  const { namespace = '', name = '', labels } = pod.metadata;
  const budgets = [...core.cache.resource(kindPrefix(kind)).list(namespace)]
    .map((cached) => objectOf(cached) as PodDisruptionBudget)
    .filter(({ spec }) => spec?.selector !== undefined && matchesLabelSelector(spec.selector, labels));
  const [budget] = budgets;
  if (budget === undefined) return;
  if (budgets.length > 1)
    throw new StatusError(
      500,
      'InternalError',
      'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
    );
  if (!isReady(pod)) {
    const { currentHealthy = 0, desiredHealthy = 0 } = budget.status ?? {};
    if (budget.spec?.unhealthyPodEvictionPolicy === 'AlwaysAllow') return;
    if (currentHealthy >= desiredHealthy && desiredHealthy > 0) return;
  }
  const where = { namespace, name: budget.metadata.name ?? '' };
  await changeObject(core, kind, where, options, {
    part: 'status',
    change: (current) => decremented(current as PodDisruptionBudget, name, core.now()),
  });
}

function decremented(budget: PodDisruptionBudget, pod: string, now: number): ApiObject {
  const name = budget.metadata.name ?? '';
  const status = budget.status ?? { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  if ((status.observedGeneration ?? 0) < (budget.metadata.generation ?? 0))
    throw tooMany(`The disruption budget ${name} is still being processed by the server.`);
  if (status.disruptionsAllowed < 0) throw forbidden(podDisruptionBudgets, name, 'pdb disruptions allowed is negative');
  if (Object.keys(status.disruptedPods ?? {}).length > DISRUPTED_LIMIT)
    throw forbidden(
      podDisruptionBudgets,
      name,
      'DisruptedPods map too big - too many evictions not confirmed by PDB controller',
    );
  if (status.disruptionsAllowed === 0)
    throw tooMany(
      `The disruption budget ${name} needs ${status.desiredHealthy} healthy pods and has ${status.currentHealthy} currently`,
      0,
    );
  budget.status = {
    ...status,
    disruptionsAllowed: status.disruptionsAllowed - 1,
    disruptedPods: { ...status.disruptedPods, [pod]: timestamp(now) },
  };
  // Nothing of it was decided by a client that read an older one.
  delete budget.metadata.resourceVersion;
  return budget as ApiObject;
}

/** Says on the pod why it goes. Returns its new resourceVersion; throws 409 unless it has the one that is expected. */
async function markDisrupted(
  core: Core,
  kind: KindDefinition,
  pod: Pod,
  expected: string | undefined,
  options: WriteOptions,
): Promise<string | undefined> {
  if (options.dryRun) return undefined;
  const condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: timestamp(core.now()),
  };
  const { namespace = '', name = '', uid } = pod.metadata;
  const bytes = await changeObject(core, kind, { namespace, name }, options, {
    part: 'status',
    admitted: true,
    change: (current) => {
      const { status } = current as Pod;
      const others = (status?.conditions ?? []).filter(({ type }) => type !== condition.type);
      (current as Pod).status = { ...status, conditions: [...others, condition] };
      if (uid !== undefined) current.metadata.uid = uid;
      delete current.metadata.resourceVersion;
      if (expected) current.metadata.resourceVersion = expected;
      return current;
    },
  });
  return parseObject(bytes).metadata.resourceVersion;
}

function isReady({ status }: Pod): boolean {
  return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
}

function tooMany(message: string, retryAfterSeconds = RETRY_AFTER): StatusError {
  return new StatusError(429, 'TooManyRequests', REFUSED, {
    causes: [{ reason: 'DisruptionBudget', message }],
    ...(retryAfterSeconds === 0 ? {} : { retryAfterSeconds }),
  });
}

function kindOf(core: Core, ref: { group: string; version: string; resource: string }): KindDefinition {
  const kind = core.registry.find(ref.group, ref.version, ref.resource);
  if (kind === undefined) throw noSuchPath();
  return kind;
}
