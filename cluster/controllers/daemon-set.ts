/** Keeps one pod of a DaemonSet on every node that it is for. */
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { controllerRevisions, daemonSets, nodes as nodeResource } from '../kinds/resources.ts';
import type { ControllerRevision, DaemonSet } from '../kinds/types/apps.ts';
import type { Node, Pod } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { planDaemonSet, tolerationsOf } from './daemon-set-plan.ts';
import { controllerIndex, controllerOf, openInformer, sameJson } from './objects.ts';
import { type PodOwner, podFromTemplate } from './pod-control.ts';
import { createPodOwnerController, type PodOwnerStep } from './pod-owner.ts';
import { hashOf, revisionLabel, revisionOfPod, syncRevisions, trimRevisions } from './revisions.ts';

const generationAnnotation = 'deprecated.daemonset.template.generation';
const generationLabel = 'pod-template-generation';
/** At most so many pods are made in one step; the next follows at once. */
const burst = 250;

export interface DaemonBackoff {
  /** Milliseconds that a pod which ended stays; doubles each time it happens on its node. */
  first: number;
  longest: number;
}

function podOn(set: Stored<DaemonSet>, owner: PodOwner, node: string, hash: string): Pod {
  const pod = podFromTemplate(owner, set.spec?.template);
  const generation = set.metadata.annotations?.[generationAnnotation];
  const own = { [revisionLabel]: hash, ...(generation !== undefined && { [generationLabel]: generation }) };
  const { affinity } = pod.spec ?? {};
  // The set looked at the node already: the pod is for this one alone.
  const terms = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }];
  return {
    metadata: { ...pod.metadata, labels: { ...pod.metadata.labels, ...own } },
    spec: {
      containers: [],
      ...pod.spec,
      tolerations: tolerationsOf(set),
      affinity: {
        ...affinity,
        nodeAffinity: {
          ...affinity?.nodeAffinity,
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms },
        },
      },
    },
  };
}

interface Others {
  nodes: Informer<Node>;
  revisions: Informer<ControllerRevision>;
  backoff: DaemonBackoff;
  /** By set and node: for how long the last pod that ended there was kept, and until when. */
  kept: Map<string, { milliseconds: number; until: number }>;
}

/** Those of the pods that ended whose time is over, and when that of the next one is. */
function endedNow(one: PodOwnerStep<DaemonSet>, ended: Stored<Pod>[], { backoff, kept }: Others) {
  const { object: set, owner, recorder, context } = one;
  const now = context.now();
  const due: Stored<Pod>[] = [];
  let again: number | undefined;
  for (const pod of ended) {
    const key = `${set.metadata.uid}/${pod.metadata.uid}`;
    const nodeKey = `${set.metadata.uid}/${pod.spec?.nodeName}`;
    const mine = kept.get(key);
    if (!mine) {
      const last = kept.get(nodeKey);
      const quiet = last !== undefined && now - last.until > 2 * backoff.longest;
      const milliseconds = last && !quiet ? Math.min(last.milliseconds * 2, backoff.longest) : backoff.first;
      const entry = { milliseconds, until: now + milliseconds };
      kept.set(key, entry).set(nodeKey, entry);
      const failed = pod.status?.phase === 'Failed';
      const message = `Found ${failed ? 'failed' : 'succeeded'} daemon pod ${pod.metadata.namespace}/${pod.metadata.name} on node ${pod.spec?.nodeName}, will try to ${failed ? 'kill' : 'delete'} it`;
      const reason = failed ? 'FailedDaemonPod' : 'SucceededDaemonPod';
      recorder.record(owner, { type: failed ? 'Warning' : 'Normal', reason, message });
      again = Math.min(again ?? milliseconds, milliseconds);
    } else if (mine.until > now) again = Math.min(again ?? mine.until - now, mine.until - now);
    else {
      kept.delete(key);
      due.push(pod);
    }
  }
  return { due, again };
}

async function step(one: PodOwnerStep<DaemonSet>, others: Others): Promise<number | undefined> {
  const { object: set, owner, pods, control, context, writeStatus } = one;
  const { client, now } = context;
  if (!set.spec || set.metadata.deletionTimestamp !== undefined) return undefined;
  const revisions = await syncRevisions({
    client,
    informer: others.revisions,
    owner,
    selector: set.spec.selector,
    template: set.spec.template,
    hashLabel: revisionLabel,
    collisions: set.status?.collisionCount ?? 0,
  });
  const hash = hashOf(revisions.update, revisionLabel);
  const plan = planDaemonSet({
    set,
    nodes: others.nodes.list(),
    pods,
    isGoing: (pod) => pod.metadata.deletionTimestamp !== undefined || control.isGoing(set.metadata.uid, pod),
    hash,
    collisions: revisions.collisions,
    now: now(),
  });
  const { due, again } = endedNow(one, plan.ended, others);
  let failure: unknown;
  try {
    await control.delete(owner, [...plan.remove, ...due]);
    const wanted = plan.create.slice(0, burst).map((node) => podOn(set, owner, node, hash));
    await control.create(owner, wanted);
  } catch (error) {
    failure = error;
  }
  await writeStatus(plan.status);
  if (failure !== undefined) throw failure;
  const live = new Set([hash, ...pods.map(revisionOfPod)]);
  const limit = set.spec.revisionHistoryLimit ?? 10;
  await trimRevisions(client, revisions, (revision) => live.has(hashOf(revision, revisionLabel)), limit);
  if (plan.create.length > burst) return 0;
  const waits = [again, plan.again].filter((wait) => wait !== undefined);
  return waits.length > 0 ? Math.max(1, Math.min(...waits)) : undefined;
}

/** What of a node decides whether a daemon is for it; nodes tell of themselves every few seconds. */
const placeOf = (node: Node | undefined) => node && { labels: node.metadata.labels, taints: node.spec?.taints };

export function createDaemonSetController(options: { backoff?: DaemonBackoff } = {}): Controller {
  let others: Others | undefined;
  return createPodOwnerController<DaemonSet>({
    name: 'daemonset',
    resource: daemonSets,
    selectorOf: ({ spec }) => spec?.selector,
    async watch(context, { owners, all, enqueue }) {
      const nodes = openInformer(context, nodeResource);
      const revisions = openInformer(context, controllerRevisions, controllerIndex);
      const kept: Others['kept'] = new Map();
      others = { nodes, revisions, kept, backoff: options.backoff ?? { first: 1000, longest: 900_000 } };
      nodes.onChange((now, old) => {
        if (!sameJson(placeOf(now), placeOf(old))) all();
      });
      owners.onChange((now, old) => {
        if (now || !old) return;
        for (const key of kept.keys()) if (key.startsWith(`${old.metadata.uid}/`)) kept.delete(key);
      });
      revisions.onChange((now, old) => {
        const metadata = (now ?? old)?.metadata;
        const owner = metadata && controllerOf(metadata);
        if (!now && owner?.kind === 'DaemonSet') enqueue(`${metadata?.namespace}/${owner.name}`);
      });
      await Promise.all([nodes.synced, revisions.synced]);
    },
    step: async (one) => others && step(one, others),
  });
}
