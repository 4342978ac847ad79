/** Keeps pods with names, numbers and claims of their own, one after the other where the set asks for that. */
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { controllerRevisions, persistentVolumeClaims, pods as podResource, statefulSets } from '../kinds/resources.ts';
import type { ControllerRevision, StatefulSet } from '../kinds/types/apps.ts';
import type { PersistentVolumeClaim, Pod, PodTemplateSpec } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { controllerIndex, controllerOf, openInformer } from './objects.ts';
import { type PodMessages, type PodOwner, podFromTemplate } from './pod-control.ts';
import { createPodOwnerController, type PodOwnerStep } from './pod-owner.ts';
import { revisionLabel, revisionOfPod, syncRevisions, templateOf, trimRevisions } from './revisions.ts';
import {
  createClaims,
  refuseGoingClaims,
  setsOfClaim,
  syncClaimOwners,
  volumesWithClaims,
} from './stateful-set-claims.ts';
import { ordinalOf, planStatefulSet, type StatefulSetPlan } from './stateful-set-plan.ts';

const nameLabel = 'statefulset.kubernetes.io/pod-name';
const indexLabel = 'apps.kubernetes.io/pod-index';
const hashLabel = 'controller.kubernetes.io/hash';

const messages: PodMessages = {
  created: (pod, owner) => `create Pod ${pod} in StatefulSet ${owner.metadata.name} successful`,
  deleted: (pod, owner) => `delete Pod ${pod} in StatefulSet ${owner.metadata.name} successful`,
  createFailed: (pod, owner, cause) => `create Pod ${pod} in StatefulSet ${owner.metadata.name} failed error: ${cause}`,
};

interface NewPod {
  set: Stored<StatefulSet>;
  owner: PodOwner;
  ordinal: number;
  template: PodTemplateSpec;
  revision: string;
}

function podOf({ set, owner, ordinal, template, revision }: NewPod): Pod {
  const { metadata, spec } = podFromTemplate(owner, template);
  const { generateName: _generated, ...rest } = metadata;
  const name = `${set.metadata.name}-${ordinal}`;
  const own = { [nameLabel]: name, [indexLabel]: String(ordinal), [revisionLabel]: revision };
  const volumes = volumesWithClaims(set, ordinal, spec?.volumes ?? []);
  return {
    metadata: { ...rest, name, labels: { ...rest.labels, ...own } },
    spec: {
      containers: [],
      ...spec,
      hostname: name,
      ...(set.spec?.serviceName && { subdomain: set.spec.serviceName }),
      ...(volumes.length > 0 && { volumes }),
    },
  };
}

interface Others {
  revisions: Informer<ControllerRevision>;
  claims: Informer<PersistentVolumeClaim>;
}

async function step(one: PodOwnerStep<StatefulSet>, others: Others): Promise<number | undefined> {
  const { object: set, owner, control, recorder, context, writeStatus } = one;
  const { client, now } = context;
  if (!set.spec) return undefined;
  const { selector, template, revisionHistoryLimit = 10 } = set.spec;
  const pods = one.pods.filter((pod) => ordinalOf(set, pod) !== undefined);
  if (set.metadata.deletionTimestamp !== undefined) return undefined;
  const revisions = await syncRevisions({
    client,
    informer: others.revisions,
    owner,
    selector,
    template,
    hashLabel,
    collisions: set.status?.collisionCount ?? 0,
  });
  const { update } = revisions;
  const current = revisions.all.find(({ metadata }) => metadata.name === set.status?.currentRevision) ?? update;
  const plan = planStatefulSet({
    set,
    pods,
    isGoing: (pod) => pod.metadata.deletionTimestamp !== undefined || control.isGoing(set.metadata.uid, pod),
    currentRevision: current.metadata.name,
    updateRevision: update.metadata.name,
    collisions: revisions.collisions,
    now: now(),
  });
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod) ?? 0;
    await syncClaimOwners(client, set, { pod, ordinal, condemned: plan.condemned.includes(pod) }, others.claims);
    await nameTruly(one, pod, ordinal);
  }
  let failure: unknown;
  try {
    for (const pod of plan.ended) {
      const failed = pod.status?.phase === 'Failed';
      const message = `StatefulSet ${set.metadata.namespace}/${set.metadata.name} is recreating ${failed ? 'failed' : 'terminated'} Pod ${pod.metadata.name}`;
      const reason = failed ? 'RecreatingFailedPod' : 'RecreatingTerminatedPod';
      recorder.record(owner, { type: failed ? 'Warning' : 'Normal', reason, message });
    }
    await control.delete(owner, plan.remove);
    for (const { ordinal } of plan.create) refuseGoingClaims(set, ordinal, others.claims);
    for (const ordinal of [...plan.create.map((one) => one.ordinal), ...ordinalsThatWait(set, pods, plan)]) {
      for (const claim of await createClaims(client, set, ordinal, others.claims)) {
        const message = `create Claim ${claim} Pod ${set.metadata.name}-${ordinal} in StatefulSet ${set.metadata.name} success`;
        recorder.record(owner, { type: 'Normal', reason: 'SuccessfulCreate', message });
      }
    }
    const wanted = plan.create.map(({ ordinal, revision }) => {
      const from = revision === 'current' ? current : update;
      return podOf({ set, owner, ordinal, template: templateOf(from), revision: from.metadata.name });
    });
    await control.create(owner, wanted);
  } catch (error) {
    failure = error;
  }
  await writeStatus(plan.status);
  if (failure !== undefined) throw failure;
  const live = new Set([current.metadata.name, update.metadata.name, ...pods.map(revisionOfPod)]);
  await trimRevisions(client, revisions, ({ metadata }) => live.has(metadata.name), revisionHistoryLimit);
  return plan.again;
}

/** Of a pod that waits a claim may have gone since it was made. */
function ordinalsThatWait(set: StatefulSet, pods: Stored<Pod>[], { condemned }: StatefulSetPlan): number[] {
  return pods
    .filter((pod) => pod.status?.phase === 'Pending' && pod.metadata.deletionTimestamp === undefined)
    .flatMap((pod) => (condemned.includes(pod) ? [] : (ordinalOf(set, pod) ?? [])));
}

/** Gives a pod that was adopted the labels that its name means. */
async function nameTruly(
  { owner, control, context }: PodOwnerStep<StatefulSet>,
  pod: Stored<Pod>,
  ordinal: number,
): Promise<void> {
  const { labels: before, name, namespace = '', uid } = pod.metadata;
  if (before?.[nameLabel] === name || pod.metadata.deletionTimestamp !== undefined) return;
  const body = { metadata: { uid, labels: { [nameLabel]: name, [indexLabel]: String(ordinal) } } };
  const named = await context.client.patch(podResource, name, { type: 'merge', body }, { namespace });
  control.noteWrite(owner.metadata.uid, named);
}

export function createStatefulSetController(): Controller {
  let others: Others | undefined;
  return createPodOwnerController<StatefulSet>({
    name: 'statefulset',
    resource: statefulSets,
    messages,
    selectorOf: ({ spec }) => spec?.selector,
    adopts: (set, pod) => ordinalOf(set, pod) !== undefined,
    async watch(context, { enqueue }) {
      const revisions = openInformer(context, controllerRevisions, controllerIndex);
      const claims = openInformer(context, persistentVolumeClaims);
      others = { revisions, claims };
      revisions.onChange((now, old) => {
        const metadata = (now ?? old)?.metadata;
        const owner = metadata && controllerOf(metadata);
        if (!now && owner?.kind === 'StatefulSet') enqueue(`${metadata?.namespace}/${owner.name}`);
      });
      claims.onChange((now, old) => {
        const { name, namespace } = old?.metadata ?? {};
        if (!now && name !== undefined) for (const set of setsOfClaim(name)) enqueue(`${namespace}/${set}`);
      });
      await Promise.all([revisions.synced, claims.synced]);
    },
    step: async (one) => others && step(one, others),
  });
}
