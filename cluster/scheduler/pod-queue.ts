/**
 * Pods that wait for a node, as kube-scheduler keeps them ("Scheduler queues"):
 *
 * - `active`: to be tried now, the most important first, then the one that waits longest;
 * - `backoff`: tried in vain not long ago. 1 s, doubling with each try to 10 s; then active. Nobody else waits for it;
 * - `waiting`: fits nowhere. A change that a plugin's hint calls helpful moves it on, and else five minutes do;
 * - `gated`: not to be tried until its scheduling gates are gone.
 *
 * A pod that is being tried is in none of these: whoever took it says how that ended.
 */
import { Heap } from './heap.ts';
import type { PodInfo } from './pod-info.ts';

export interface QueuedPod {
  /** Replaced when the pod changed. */
  pod: PodInfo;
  /** Tries that failed. */
  attempts: number;
  place: 'active' | 'backoff' | 'waiting' | 'gated' | 'tried' | 'gone';
  /** Milliseconds: when it was put where it is. */
  since: number;
  sequence: number;
  backoffUntil: number;
  /** What turned it away when it was last tried. */
  plugins: ReadonlySet<string>;
}

export interface PodQueue {
  /** New, or changed so that it may be tried at once. */
  add(pod: PodInfo): void;
  get(uid: string): QueuedPod | undefined;
  remove(uid: string): void;
  /** Takes the next pod to try. */
  next(): QueuedPod | undefined;
  /** It fits nowhere. Without plugins it is tried again after its back-off. */
  turnedAway(queued: QueuedPod, plugins: ReadonlySet<string>): void;
  /** It failed for another reason: it is tried again after its back-off. */
  failed(queued: QueuedPod): void;
  /** What it would wait for has happened: it is tried again after its back-off. */
  retry(queued: QueuedPod): void;
  /** Something changed: moves on those of the pods that the plugin turned away that it helps. */
  wake(plugin: string, helps: (pod: PodInfo) => boolean): void;
  /** How many pods wait because of the plugin: whoever has nobody to wake need not look at a change. */
  waitingFor(plugin: string): number;
  counts(): Record<'active' | 'backoff' | 'waiting' | 'gated', number>;
  close(): void;
}

const firstBackoff = 1000;
const lastBackoff = 10_000;
const longestWait = 5 * 60_000;
const flushPeriod = 30_000;

function isGated({ pod }: PodInfo): boolean {
  return (pod.spec?.schedulingGates?.length ?? 0) > 0;
}

/** An entry of a heap, valid while the pod is where it was when the entry was made. */
interface Entry {
  queued: QueuedPod;
  stamp: number;
}

/** @param now  milliseconds of a clock that nobody sets: only times between are asked for */
export function createPodQueue(onReady: () => void, now: () => number = () => performance.now()): PodQueue {
  const known = new Map<string, QueuedPod>();
  const stamps = new WeakMap<QueuedPod, number>();
  const active = new Heap<Entry>(({ queued: a }, { queued: b }) =>
    a.pod.priority === b.pod.priority ? a.sequence < b.sequence : a.pod.priority > b.pod.priority,
  );
  const backoff = new Heap<Entry>((a, b) => a.queued.backoffUntil < b.queued.backoffUntil);
  const waiting = new Map<string, Set<QueuedPod>>();
  let sequence = 0;
  let moves = 0;
  let timer: { due: number; handle: NodeJS.Timeout } | undefined;
  const flush = setInterval(flushWaiting, flushPeriod).unref();

  function isCurrent({ queued, stamp }: Entry): boolean {
    return stamps.get(queued) === stamp;
  }

  function put(queued: QueuedPod, place: QueuedPod['place']): void {
    if (queued.place === 'waiting') for (const plugin of queued.plugins) waiting.get(plugin)?.delete(queued);
    queued.place = place;
    queued.since = now();
    const entry = { queued, stamp: ++moves };
    stamps.set(queued, entry.stamp);
    if (place === 'active') {
      active.push(entry);
      onReady();
    } else if (place === 'backoff') {
      backoff.push(entry);
      plan();
    } else if (place === 'waiting') {
      for (const plugin of queued.plugins) {
        const pods = waiting.get(plugin);
        if (pods) pods.add(queued);
        else waiting.set(plugin, new Set([queued]));
      }
    }
  }

  /** To where it may be tried from, as soon as its back-off permits. */
  function moveOn(queued: QueuedPod): void {
    if (isGated(queued.pod)) put(queued, 'gated');
    else put(queued, queued.backoffUntil > now() ? 'backoff' : 'active');
  }

  function plan(): void {
    let first = backoff.peek();
    while (first !== undefined && !isCurrent(first)) {
      backoff.pop();
      first = backoff.peek();
    }
    if (first === undefined) return;
    const due = first.queued.backoffUntil;
    if (timer !== undefined && timer.due <= due) return;
    clearTimeout(timer?.handle);
    timer = { due, handle: setTimeout(flushBackoff, Math.max(1, due - now())).unref() };
  }

  function flushBackoff(): void {
    timer = undefined;
    for (let first = backoff.peek(); first !== undefined; first = backoff.peek()) {
      if (isCurrent(first)) {
        if (first.queued.backoffUntil > now()) break;
        put(first.queued, 'active');
      }
      backoff.pop();
    }
    plan();
  }

  function flushWaiting(): void {
    for (const queued of known.values())
      if (queued.place === 'waiting' && queued.since + longestWait <= now()) moveOn(queued);
  }

  function count(queued: QueuedPod): void {
    queued.attempts++;
    queued.sequence = ++sequence;
    queued.backoffUntil = now() + Math.min(firstBackoff * 2 ** (queued.attempts - 1), lastBackoff);
  }

  return {
    add(pod) {
      let queued = known.get(pod.uid);
      if (queued === undefined) {
        queued = {
          pod,
          attempts: 0,
          place: 'tried',
          since: 0,
          sequence: ++sequence,
          backoffUntil: 0,
          plugins: new Set(),
        };
        known.set(pod.uid, queued);
      }
      queued.pod = pod;
      moveOn(queued);
    },
    get: (uid) => known.get(uid),
    remove(uid) {
      const queued = known.get(uid);
      if (queued === undefined) return;
      known.delete(uid);
      put(queued, 'gone');
    },
    next() {
      for (let entry = active.pop(); entry !== undefined; entry = active.pop()) {
        if (!isCurrent(entry)) continue;
        put(entry.queued, 'tried');
        return entry.queued;
      }
      return undefined;
    },
    turnedAway(queued, plugins) {
      if (queued.place !== 'tried') return;
      count(queued);
      queued.plugins = plugins;
      put(queued, plugins.size === 0 ? 'backoff' : 'waiting');
    },
    failed(queued) {
      if (queued.place !== 'tried') return;
      count(queued);
      put(queued, 'backoff');
    },
    retry(queued) {
      if (queued.place === 'waiting') moveOn(queued);
    },
    wake(plugin, helps) {
      for (const queued of waiting.get(plugin) ?? []) if (helps(queued.pod)) moveOn(queued);
    },
    waitingFor: (plugin) => waiting.get(plugin)?.size ?? 0,
    counts() {
      const counts = { active: 0, backoff: 0, waiting: 0, gated: 0 };
      for (const { place } of known.values()) if (place !== 'tried' && place !== 'gone') counts[place]++;
      return counts;
    },
    close() {
      clearInterval(flush);
      clearTimeout(timer?.handle);
      for (const queued of known.values()) put(queued, 'gone');
      known.clear();
    },
  };
}
