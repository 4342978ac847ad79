/** https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ */
import { readFileSync } from 'node:fs';
import type { Limits } from '#engine/engine.ts';
import type { Container, Pod } from '../kinds/types/core.ts';
import { memoryAnnotation } from './labels.ts';
import { bytesOf, milliOf, parseQuantity } from './quantity.ts';

export function qosClassOf(pod: Pod): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  let any = false;
  let guaranteed = true;
  for (const { resources } of containers) {
    for (const resource of ['cpu', 'memory']) {
      const limit = resources?.limits?.[resource];
      const request = resources?.requests?.[resource] ?? limit;
      if (limit !== undefined || request !== undefined) any = true;
      if (limit === undefined || request === undefined || parseQuantity(limit) !== parseQuantity(request)) {
        guaranteed = false;
      }
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

const criticalPriority = 2_000_000_000;
/** The kernel's choice of whom to kill when the host lacks memory: -1000 never, 1000 first. */
const adjustments = { guaranteed: -997, bestEffort: 1000, leastBurstable: 3, mostBurstable: 999 };

/** https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior */
export function oomScoreAdjustment(pod: Pod, container: Container, capacity: number): number {
  const quality = qosClassOf(pod);
  if ((pod.spec?.priority ?? 0) >= criticalPriority || quality === 'Guaranteed')
    return Math.max(ownAdjustment(), adjustments.guaranteed);
  if (quality === 'BestEffort') return adjustments.bestEffort;
  const { requests, limits } = container.resources ?? {};
  const request = bytesOf(requests?.['memory'] ?? limits?.['memory'] ?? 0);
  const share = Math.floor(1000 - (1000 * request) / capacity);
  return Math.min(adjustments.mostBurstable, Math.max(adjustments.leastBurstable, share));
}

/** No container is spared before the agent itself: the engine refuses that. */
function ownAdjustment(): number {
  return Math.min(0, Number(readFileSync('/proc/self/oom_score_adj', 'utf8')));
}

/** cpu.shares, of thousandths of a core. */
export function sharesOf(cpuMillis: number): number {
  return Math.min(262_144, Math.max(2, Math.floor((cpuMillis * 1024) / 1000)));
}

/**
 * What the pod as a whole may use, and no more than its annotation `node.sampan.dev/memory` says: the shares of all its requests, so that a pod of many containers has no more than it asked
 * for, and hard limits where every container has one, each with what its runtime takes beside them (`overhead`). Init containers run one after the other, sidecars beside all.
 */
export function podLimitsOf(pod: Pod): Limits {
  const sum = (read: (container: Container) => number | undefined): number | undefined => total(pod, read);
  const memory = sum(({ resources }) => quantityOf(resources?.limits?.['memory'], bytesOf));
  const cpu = sum(({ resources }) => quantityOf(resources?.limits?.['cpu'], milliOf));
  const shares = sum(({ resources }) => milliOf(resources?.requests?.['cpu'] ?? resources?.limits?.['cpu'] ?? 0));
  const { cpu: moreCpu = '0', memory: moreMemory = '0' } = pod.spec?.overhead ?? {};
  return {
    cpuShares: sharesOf((shares ?? 0) + milliOf(moreCpu)),
    ...(memory !== undefined && { memoryBytes: Math.min(memory, sharedMemoryOf(pod)) + bytesOf(moreMemory) }),
    ...(cpu !== undefined && { cpuMillis: Math.max(10, cpu + milliOf(moreCpu)) }),
  };
}

/** For containers that share one amount, each of which may have all of it. */
function sharedMemoryOf(pod: Pod): number {
  const text = pod.metadata.annotations?.[memoryAnnotation];
  const bytes = text === undefined ? Number.NaN : bytesOf(text);
  return bytes > 0 ? bytes : Number.POSITIVE_INFINITY;
}

function quantityOf(text: string | undefined, read: (text: string) => number): number | undefined {
  return text === undefined ? undefined : read(text);
}

/** Undefined where one of them has none. */
function total(pod: Pod, read: (container: Container) => number | undefined): number | undefined {
  let sidecars = 0;
  let largest = 0;
  for (const container of pod.spec?.initContainers ?? []) {
    const value = read(container);
    if (value === undefined) return undefined;
    if (container.restartPolicy === 'Always') sidecars += value;
    largest = Math.max(largest, container.restartPolicy === 'Always' ? sidecars : sidecars + value);
  }
  let mains = sidecars;
  for (const container of pod.spec?.containers ?? []) {
    const value = read(container);
    if (value === undefined) return undefined;
    mains += value;
  }
  return Math.max(largest, mains);
}
