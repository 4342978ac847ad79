/**
 * Keeps new pods off nodes that lack memory, disk or process numbers, and notices nodes that are gone: one whose lease was
 * not renewed for 40 s is said to be of unknown state and tainted, its pods are taken out of service, and those that do not
 * tolerate the taint (or no longer) are evicted. A pod whose node does not answer cannot end properly: it is marked, so
 * that a controller makes another, and removed when its grace period is over.
 *
 * How long a node has been silent, and how long its pods have been tainted, is told by a clock that nobody sets: setting the host's
 * forward neither loses a node nor evicts a pod.
 *
 * When no node is ready, nothing is taken out of service and nobody is evicted: there is nowhere to go, and pods that
 * nobody looks after mostly still serve.
 */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { leases as leaseResource, nodes as nodeResource, pods as podResource } from '../kinds/resources.ts';
import type { Lease } from '../kinds/types/coordination.ts';
import type { Node, Pod, Taint } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { controllerOf, isFinished, isReady, openInformer, sameJson, timestamp } from './objects.ts';

const leaseNamespace = 'kube-node-lease';
const unreachable = 'node.kubernetes.io/unreachable';
const notReady = 'node.kubernetes.io/not-ready';
const outOfService = 'node.kubernetes.io/out-of-service';

/** By which condition of a node that is there, and lacks something: no new pods then, unless they tolerate it. */
const pressureTaints = new Map([
  ['MemoryPressure', 'node.kubernetes.io/memory-pressure'],
  ['DiskPressure', 'node.kubernetes.io/disk-pressure'],
  ['PIDPressure', 'node.kubernetes.io/pid-pressure'],
]);
const ownKeys = new Set([unreachable, notReady, ...pressureTaints.values()]);

export interface NodeLifecycleOptions {
  /** Milliseconds without renewal after which a node is unknown; default 40,000. */
  leaseGrace?: number;
  /** The same for a node that has not said anything yet: it may be starting. Default 60,000. */
  startupGrace?: number;
  /** Milliseconds after a pod's own grace period until it is removed from a node that does not answer; default 10,000. */
  removeAfter?: number;
  /** The clock that nobody sets, in milliseconds; tests may let it run ahead. */
  elapsed?: () => number;
}

/** Milliseconds that the pod may stay; 0 when it does not tolerate the taint, infinite when it does without limit. */
export function toleratedFor(pod: Pod, taint: Taint): number {
  let shortest = 0;
  let tolerated = false;
  for (const { key, operator = 'Equal', value = '', effect, tolerationSeconds } of pod.spec?.tolerations ?? []) {
    if (effect && effect !== taint.effect) continue;
    if (key ? key !== taint.key : operator !== 'Exists') continue;
    if (operator !== 'Exists' && value !== (taint.value ?? '')) continue;
    const milliseconds =
      tolerationSeconds === undefined ? Number.POSITIVE_INFINITY : Math.max(0, tolerationSeconds * 1000);
    shortest = tolerated ? Math.min(shortest, milliseconds) : milliseconds;
    tolerated = true;
  }
  return shortest;
}

function isOneAtMost({ metadata }: Pod): boolean {
  return controllerOf(metadata)?.kind === 'StatefulSet';
}

function isOff({ spec }: Node): boolean {
  return spec?.taints?.some(({ key }) => key === outOfService) === true;
}

function hasReported({ status }: Node): boolean {
  return status?.conditions?.some(({ type }) => type === 'Ready') === true;
}

function readyStatus(node: Node): string {
  return node.status?.conditions?.find(({ type }) => type === 'Ready')?.status ?? 'False';
}

async function ignoreGone(action: Promise<unknown>): Promise<void> {
  try {
    await action;
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

export function createNodeLifecycleController(options: NodeLifecycleOptions = {}): Controller {
  const graceOf = (node: Node): number =>
    hasReported(node) ? (options.leaseGrace ?? 40_000) : (options.startupGrace ?? 60_000);
  const removeAfter = options.removeAfter ?? 10_000;
  const elapsed = options.elapsed ?? (() => performance.now());
  let nodes: Informer<Node>;
  let leases: Informer<Lease>;
  let pods: Informer<Pod>;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;
  /** When this process saw each lease change: clocks of nodes are not compared with ours. */
  const seen = new Map<string, { renewTime: string | undefined; at: number }>();
  /** By node, since when each has its taint; and by uid, since when each pod on one that does not answer is to go. */
  const tainted = new Map<string, { taint: string; at: number }>();
  const going = new Map<string, number>();

  /** Milliseconds. */
  function silence(node: Stored<Node>): number {
    const renewTime = leases.get(node.metadata.name, leaseNamespace)?.spec?.renewTime;
    const before = seen.get(node.metadata.name);
    if (before && before.renewTime === renewTime) return elapsed() - before.at;
    seen.set(node.metadata.name, { renewTime, at: elapsed() });
    return 0;
  }

  /** Milliseconds. What was before this process began is told by the taint's own time. */
  function taintedFor(node: Stored<Node>, { key, timeAdded = '' }: Taint, now: number): number {
    const taint = `${key} ${timeAdded}`;
    let since = tainted.get(node.metadata.name);
    if (since?.taint !== taint) {
      since = { taint, at: elapsed() - Math.max(0, now - (Date.parse(timeAdded) || now)) };
      tainted.set(node.metadata.name, since);
    }
    return elapsed() - since.at;
  }

  /** Milliseconds until the object of a pod that is to go is removed, whose node does not answer. */
  function leftFor({ metadata }: Stored<Pod>, now: number): number {
    const grace = (metadata.deletionGracePeriodSeconds ?? 0) * 1000;
    let since = going.get(metadata.uid);
    if (since === undefined) {
      // The timestamp says when its grace is over.
      const gone = now - (Date.parse(metadata.deletionTimestamp ?? '') - grace);
      since = elapsed() - Math.max(0, gone);
      going.set(metadata.uid, since);
    }
    return since + grace + removeAfter - elapsed();
  }

  function wantedTaints(node: Stored<Node>, ready: string, now: number): Taint[] {
    const others = node.spec?.taints?.filter(({ key }) => !ownKeys.has(key)) ?? [];
    const make = (key: string, effect: string): Taint => {
      const old = node.spec?.taints?.find((taint) => taint.key === key && taint.effect === effect);
      return old ?? { key, effect, ...(effect === 'NoExecute' && { timeAdded: timestamp(now) }) };
    };
    for (const { type, status } of node.status?.conditions ?? []) {
      const key = pressureTaints.get(type);
      if (key !== undefined && status === 'True') others.push(make(key, 'NoSchedule'));
    }
    if (ready === 'True') return others;
    const key = ready === 'Unknown' ? unreachable : notReady;
    return [...others, make(key, 'NoSchedule'), make(key, 'NoExecute')];
  }

  async function markUnknown(client: Client, node: Stored<Node>, now: number): Promise<Stored<Node>> {
    const known = node.status?.conditions ?? [];
    if (known.some(({ type, status }) => type === 'Ready' && status === 'Unknown')) return node;
    const types = new Set([...known.map(({ type }) => type), 'Ready']);
    const conditions = [...types].map((type) => {
      const old = known.find((condition) => condition.type === type);
      return {
        ...old,
        type,
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'The node agent stopped posting node status.',
        lastTransitionTime: timestamp(now),
      };
    });
    return client.updateStatus(nodeResource, { ...node, status: { ...node.status, conditions } });
  }

  async function markPodsNotReady(client: Client, name: string, now: number): Promise<void> {
    for (const pod of pods.byIndex('node', name)) {
      if (!isReady(pod)) continue;
      const conditions = pod.status?.conditions?.map((condition) =>
        condition.type === 'Ready'
          ? { ...condition, status: 'False', reason: 'NodeNotReady', lastTransitionTime: timestamp(now) }
          : condition,
      );
      await ignoreGone(
        client.updateStatus(podResource, { ...pod, status: { ...pod.status, ...(conditions && { conditions }) } }),
      );
    }
  }

  /** Returns the milliseconds until the next pod is due. */
  async function evict(client: Client, node: Stored<Node>, now: number): Promise<number> {
    const taint = node.spec?.taints?.find(
      ({ key, effect }) => effect === 'NoExecute' && (key === unreachable || key === notReady),
    );
    if (!taint) {
      tainted.delete(node.metadata.name);
      return Number.POSITIVE_INFINITY;
    }
    const since = taintedFor(node, taint, now);
    let next = Number.POSITIVE_INFINITY;
    for (const pod of pods.byIndex('node', node.metadata.name)) {
      const { name, namespace = '', uid, deletionTimestamp } = pod.metadata;
      const remove = (grace: { gracePeriodSeconds?: number }): Promise<void> =>
        ignoreGone(client.delete(podResource, name, { namespace, preconditions: { uid }, ...grace }));
      if (deletionTimestamp !== undefined) {
        if (taint.key !== unreachable || (isOneAtMost(pod) && !isOff(node))) continue;
        const wait = leftFor(pod, now);
        if (wait <= 0) await remove({ gracePeriodSeconds: 0 });
        else next = Math.min(next, wait);
        continue;
      }
      if (isFinished(pod)) continue;
      const wait = toleratedFor(pod, taint) - since;
      if (wait <= 0) {
        await remove({});
        next = Math.min(next, removeAfter);
      } else {
        next = Math.min(next, wait);
      }
    }
    return next;
  }

  async function reconcile(name: string, { client, now, log }: ControllerContext): Promise<void> {
    let node = nodes.get(name);
    if (!node) {
      seen.delete(name);
      tainted.delete(name);
      return;
    }
    const time = now();
    const silent = silence(node);
    const grace = graceOf(node);
    if (silent >= grace) {
      if (readyStatus(node) !== 'Unknown') {
        log('warn', `node ${name} does not answer`, { node: name, silentMilliseconds: silent });
      }
      node = await markUnknown(client, node, time);
    } else {
      requeue(name, grace - silent + 10);
    }
    const ready = readyStatus(node);
    const taints = wantedTaints(node, ready, time);
    if (!sameJson(taints, node.spec?.taints ?? [])) {
      node = await client.update(nodeResource, { ...node, spec: { ...node.spec, taints } });
    }
    if (!nodes.list().some((one) => readyStatus(one) === 'True')) return;
    if (ready !== 'True') await markPodsNotReady(client, name, time);
    const next = await evict(client, node, time);
    if (next !== Number.POSITIVE_INFINITY) requeue(name, Math.max(next, 100));
  }

  return {
    name: 'node-lifecycle',
    async start(context, enqueue) {
      requeue = enqueue;
      nodes = openInformer(context, nodeResource);
      leases = openInformer(context, leaseResource);
      pods = openInformer(context, podResource, { node: ({ spec }) => (spec?.nodeName ? [spec.nodeName] : []) });
      nodes.onChange((now, old) => {
        enqueue((now ?? old)?.metadata.name ?? '');
        if (!now || readyStatus(now) !== 'True' || (old && readyStatus(old) === 'True')) return;
        // There may be somewhere to go now.
        for (const node of nodes.list()) if (readyStatus(node) !== 'True') enqueue(node.metadata.name);
      });
      leases.onChange((now) => {
        if (now?.metadata.namespace !== leaseNamespace) return;
        const node = nodes.get(now.metadata.name);
        if (!node) return;
        seen.set(now.metadata.name, { renewTime: now.spec?.renewTime, at: elapsed() });
        // A renewal of a healthy node's lease needs no look; the timer that runs finds it.
        if (readyStatus(node) !== 'True') enqueue(now.metadata.name);
      });
      pods.onChange((now, old) => {
        if (!now && old) going.delete(old.metadata.uid);
        const name = now?.spec?.nodeName;
        const node = name === undefined ? undefined : nodes.get(name);
        if (name && node?.spec?.taints?.some(({ effect }) => effect === 'NoExecute')) enqueue(name);
      });
      await Promise.all([nodes.synced, leases.synced, pods.synced]);
      for (const { metadata } of nodes.list()) enqueue(metadata.name);
    },
    keys: () => nodes.list().map(({ metadata }) => metadata.name),
    reconcile,
  };
}
