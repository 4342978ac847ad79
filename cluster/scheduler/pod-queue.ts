/**
 * Pods that wait for a node: those to try now, highest priority and then oldest first, and those that fit nowhere. The
 * latter are tried again when something changed that may help, but not more often than their back-off permits: 1 s
 * doubling to 10 s.
 */
const firstBackoff = 100;
const lastBackoff = 10_000;

export interface QueuedPod {
  key: string;
  uid: string;
  priority: number;
  /** Order of arrival. */
  sequence: number;
  attempts: number;
  lastTry: number;
}

export function createPodQueue(onReady: () => void, now: () => number = Date.now) {
  const known = new Map<string, QueuedPod>();
  const active = new Set<QueuedPod>();
  let sorted: QueuedPod[] | undefined;
  let sequence = 0;
  let timer: { due: number; handle: NodeJS.Timeout } | undefined;
  const wakeful = new Set<QueuedPod>();

  const waitOf = (pod: QueuedPod): number =>
    pod.lastTry + Math.min(firstBackoff * 2 ** Math.max(0, pod.attempts - 1), lastBackoff) - now();

  function activate(pod: QueuedPod): void {
    wakeful.delete(pod);
    if (active.has(pod)) return;
    active.add(pod);
    sorted = undefined;
    onReady();
  }

  function plan(): void {
    let wait = Number.POSITIVE_INFINITY;
    for (const pod of wakeful) wait = Math.min(wait, waitOf(pod));
    if (wait === Number.POSITIVE_INFINITY) return;
    const due = now() + wait;
    if (timer && timer.due <= due) return;
    clearTimeout(timer?.handle);
    const handle = setTimeout(
      () => {
        timer = undefined;
        for (const pod of wakeful) if (waitOf(pod) <= 0) activate(pod);
        plan();
      },
      Math.max(1, wait),
    );
    handle.unref();
    timer = { due, handle };
  }

  return {
    /** A pod that is new, or changed so that it may be tried at once. */
    add(key: string, uid: string, priority: number): void {
      let pod = known.get(key);
      if (!pod || pod.uid !== uid) {
        if (pod) active.delete(pod);
        pod = { key, uid, priority, sequence: sequence++, attempts: 0, lastTry: 0 };
        known.set(key, pod);
      }
      pod.priority = priority;
      activate(pod);
    },
    has: (key: string): boolean => known.has(key),
    remove(key: string): void {
      const pod = known.get(key);
      if (!pod) return;
      known.delete(key);
      wakeful.delete(pod);
      if (active.delete(pod)) sorted = undefined;
    },
    next(): QueuedPod | undefined {
      sorted ??= [...active].sort((a, b) => a.priority - b.priority || b.sequence - a.sequence);
      const pod = sorted.pop();
      if (pod) active.delete(pod);
      return pod;
    },
    /** It was tried and found no node. `retry`: by itself, after its back-off. */
    failed(pod: QueuedPod, retry: boolean): void {
      pod.attempts++;
      pod.lastTry = now();
      if (retry && known.get(pod.key) === pod) {
        wakeful.add(pod);
        plan();
      }
    },
    /** Something changed: whoever waits may fit now. */
    wakeAll(): void {
      for (const pod of known.values()) {
        if (active.has(pod) || pod.attempts === 0) continue;
        if (waitOf(pod) <= 0) activate(pod);
        else wakeful.add(pod);
      }
      plan();
    },
    close(): void {
      clearTimeout(timer?.handle);
      known.clear();
      active.clear();
      sorted = [];
    },
  };
}
