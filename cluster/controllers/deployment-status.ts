/** What a Deployment says of itself; `kubectl rollout status` reads it. Pure. */
import type { Stored } from '../kinds/kind.ts';
import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from '../kinds/types/apps.ts';
import { limits } from './deployment-plan.ts';
import { timestamp } from './objects.ts';

type Fresh = Pick<DeploymentCondition, 'type' | 'status' | 'reason' | 'message'>;

interface Counts {
  replicas: number;
  updatedReplicas: number;
  readyReplicas: number;
  availableReplicas: number;
}

function count(current: Stored<ReplicaSet> | undefined, sets: Stored<ReplicaSet>[]): Counts {
  const total = (field: 'replicas' | 'readyReplicas' | 'availableReplicas'): number =>
    sets.reduce((sum, set) => sum + (set.status?.[field] ?? 0), 0);
  return {
    replicas: total('replicas'),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: total('readyReplicas'),
    availableReplicas: total('availableReplicas'),
  };
}

export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const replicas = deployment.spec?.replicas ?? 1;
  return (
    (status.updatedReplicas ?? 0) === replicas &&
    (status.replicas ?? 0) === replicas &&
    (status.availableReplicas ?? 0) === replicas &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

function hasProgressed(before: DeploymentStatus, after: Counts): boolean {
  return (
    after.updatedReplicas > (before.updatedReplicas ?? 0) ||
    after.replicas - after.updatedReplicas < (before.replicas ?? 0) - (before.updatedReplicas ?? 0) ||
    after.readyReplicas > (before.readyReplicas ?? 0) ||
    after.availableReplicas > (before.availableReplicas ?? 0)
  );
}

export interface StatusInput {
  deployment: Stored<Deployment>;
  current: Stored<ReplicaSet> | undefined;
  sets: Stored<ReplicaSet>[];
  /** A new set was made in this step, or an old one became the current one. */
  adopted: 'created' | 'found' | undefined;
  now: number;
}

interface StatusOutput {
  status: DeploymentStatus;
  /** Milliseconds until the progress deadline is to be looked at again. */
  deadlineIn: number | undefined;
}

/** Has a deadline that counts; the greatest 32-bit number stands for none. */
function deadlineOf(deployment: Deployment): number | undefined {
  const seconds = deployment.spec?.progressDeadlineSeconds;
  return seconds === undefined || seconds === 2 ** 31 - 1 ? undefined : seconds * 1000;
}

function progressing(
  input: StatusInput,
  counts: Counts,
  old: DeploymentCondition | undefined,
): { fresh: Fresh | undefined; touched: boolean; deadlineIn?: number } {
  const { deployment, current, adopted, now } = input;
  const deadline = deadlineOf(deployment);
  if (deadline === undefined) return { fresh: undefined, touched: false };
  const subject = current ? `ReplicaSet "${current.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;
  const make = (status: string, reason: string, message: string): Fresh => ({
    type: 'Progressing',
    status,
    reason,
    message,
  });
  if (deployment.spec?.paused)
    return { fresh: make('Unknown', 'DeploymentPaused', 'Deployment is paused'), touched: false };
  if (old?.reason === 'DeploymentPaused') {
    return {
      fresh: make('Unknown', 'DeploymentResumed', 'Deployment is resumed'),
      touched: true,
      deadlineIn: deadline,
    };
  }
  const observed = { ...counts, observedGeneration: deployment.metadata.generation ?? 0 };
  if (current && isComplete(deployment, observed)) {
    const fresh = make('True', 'NewReplicaSetAvailable', `${subject} has successfully progressed.`);
    return { fresh, touched: old?.reason !== 'NewReplicaSetAvailable' };
  }
  if (adopted === 'created') {
    return {
      fresh: make('True', 'NewReplicaSetCreated', `Created new replica set "${current?.metadata.name}"`),
      touched: true,
      deadlineIn: deadline,
    };
  }
  if (adopted === 'found') {
    return {
      fresh: make('True', 'FoundNewReplicaSet', `Found new replica set "${current?.metadata.name}"`),
      touched: true,
      deadlineIn: deadline,
    };
  }
  // It was complete, so this is a new scaling, not a rollout: it has no deadline.
  if (
    old?.reason === 'NewReplicaSetAvailable' &&
    deployment.status?.observedGeneration !== undefined &&
    counts.updatedReplicas === counts.replicas
  ) {
    return {
      fresh: { type: 'Progressing', status: old.status, reason: old.reason, message: old.message ?? '' },
      touched: false,
    };
  }
  if (!old || hasProgressed(deployment.status ?? {}, counts)) {
    return {
      fresh: make('True', 'ReplicaSetUpdated', `${subject} is progressing.`),
      touched: true,
      deadlineIn: deadline,
    };
  }
  if (old.reason === 'ProgressDeadlineExceeded') {
    return {
      fresh: { type: 'Progressing', status: old.status, reason: old.reason, message: old.message ?? '' },
      touched: false,
    };
  }
  const left = Date.parse(old.lastUpdateTime ?? '') + deadline - now;
  if (left <= 0)
    return { fresh: make('False', 'ProgressDeadlineExceeded', `${subject} has timed out progressing.`), touched: true };
  const { status, reason, message } = old;
  return {
    fresh: { type: 'Progressing', status, ...(reason && { reason }), ...(message && { message }) },
    touched: false,
    deadlineIn: left,
  };
}

export function deploymentStatus(input: StatusInput): StatusOutput {
  const { deployment, current, sets, now } = input;
  const counts = count(current, sets);
  const before = deployment.status ?? {};
  const { replicas, maxUnavailable } = limits(deployment);
  const oldOf = (type: string): DeploymentCondition | undefined => before.conditions?.find((one) => one.type === type);
  const conditions: DeploymentCondition[] = [];
  const put = (fresh: Fresh, touched: boolean): void => {
    const old = oldOf(fresh.type);
    const at = timestamp(now);
    const same = old?.status === fresh.status && old.reason === fresh.reason;
    conditions.push({
      ...fresh,
      lastUpdateTime: same && !touched ? (old.lastUpdateTime ?? at) : at,
      lastTransitionTime: old?.status === fresh.status ? (old.lastTransitionTime ?? at) : at,
    });
  };
  const available = counts.availableReplicas >= replicas - maxUnavailable;
  put(
    available
      ? {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          message: 'Deployment has minimum availability.',
        }
      : {
          type: 'Available',
          status: 'False',
          reason: 'MinimumReplicasUnavailable',
          message: 'Deployment does not have minimum availability.',
        },
    false,
  );
  const { fresh, touched, deadlineIn } = progressing(input, counts, oldOf('Progressing'));
  if (fresh) put(fresh, touched);
  const failure = sets
    .flatMap((set) => set.status?.conditions ?? [])
    .find(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
  if (failure) {
    put(
      {
        type: 'ReplicaFailure',
        status: 'True',
        ...(failure.reason && { reason: failure.reason }),
        ...(failure.message && { message: failure.message }),
      },
      false,
    );
  }
  const unavailable = Math.max(
    0,
    sets.reduce((sum, set) => sum + (set.spec?.replicas ?? 0), 0) - counts.availableReplicas,
  );
  return {
    deadlineIn,
    status: {
      observedGeneration: deployment.metadata.generation ?? 0,
      ...counts,
      ...(unavailable > 0 && { unavailableReplicas: unavailable }),
      ...(before.collisionCount !== undefined && { collisionCount: before.collisionCount }),
      conditions,
    },
  };
}
