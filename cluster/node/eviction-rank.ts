/**
 * Which pod goes first when the node lacks something, and in which words. Pure. As upstream: those that use more than they
 * requested, then those of less priority, then those that use the most beyond their request.
 */
import type { Pod } from '../kinds/types/core.ts';
import { mirrorAnnotation, staticSourceOf } from './labels.ts';
import type { CrossedThreshold, PressureCondition, Signal } from './pressure.ts';
import { resourceOfSignal } from './pressure.ts';
import { qosClassOf } from './qos.ts';
import { bytesOf } from './quantity.ts';

const criticalPriority = 2_000_000_000;

export interface PodUsage {
  memoryBytes: number;
  diskBytes: number;
  processes: number;
}

export interface Candidate {
  pod: Pod;
  usage: PodUsage;
  /** By container, of what the signal is about. */
  containers: { name: string; usage: PodUsage }[];
}

/** Whether it is never evicted: what the node itself needs. */
export function isCritical({ metadata, spec }: Pod): boolean {
  const annotations = metadata.annotations ?? {};
  if (annotations[mirrorAnnotation] !== undefined || staticSourceOf(annotations) !== undefined) return true;
  return (spec?.priority ?? 0) >= criticalPriority;
}

/** Why a pod that has just come is not started on a node that lacks something; undefined where it is. */
export function pressureRefusal(pod: Pod, pressures: readonly PressureCondition[]): string | undefined {
  if (pressures.length === 0 || isCritical(pod)) return undefined;
  // One that says how much memory it needs was placed with that in mind.
  if (pressures.every((one) => one === 'MemoryPressure') && qosClassOf(pod) !== 'BestEffort') return undefined;
  return `The node had condition: [${pressures.join(' ')}]. `;
}

export function rank(candidates: readonly Candidate[], signal: Signal): Candidate[] {
  const priority = ({ pod }: Candidate): number => pod.spec?.priority ?? 0;
  const excess = (candidate: Candidate): number => usedOf(candidate.usage, signal) - requestOf(candidate.pod, signal);
  return candidates
    .filter(({ pod }) => !isCritical(pod))
    .sort(
      (a, b) =>
        (signal === 'pid.available' ? 0 : Number(excess(b) > 0) - Number(excess(a) > 0)) ||
        priority(a) - priority(b) ||
        excess(b) - excess(a),
    );
}

/** The status message, as upstream writes it. */
export function evictionMessage(
  { pod, containers }: Candidate,
  { signal, threshold, available }: CrossedThreshold,
): string {
  const resource = resourceOfSignal[signal];
  const parts = [
    `The node was low on resource: ${resource}. `,
    `Threshold quantity: ${formatAmount(threshold, signal)}, available: ${formatAmount(available, signal)}. `,
  ];
  for (const { name, usage } of containers) {
    const used = usedOf(usage, signal);
    const request = requestOfContainer(pod, name, signal);
    if (used > request)
      parts.push(
        `Container ${name} was using ${formatAmount(used, signal)}, request is ${formatAmount(request, signal)}, has larger consumption of ${resource}. `,
      );
  }
  return parts.join('');
}

function usedOf(usage: PodUsage, signal: Signal): number {
  if (signal === 'memory.available') return usage.memoryBytes;
  return signal === 'pid.available' ? usage.processes : usage.diskBytes;
}

function requestOf(pod: Pod, signal: Signal): number {
  const containers = pod.spec?.containers ?? [];
  return containers.reduce((sum, { name }) => sum + requestOfContainer(pod, name, signal), 0);
}

function requestOfContainer(pod: Pod, name: string, signal: Signal): number {
  if (signal === 'pid.available') return 0;
  const resource = signal === 'memory.available' ? 'memory' : 'ephemeral-storage';
  const { requests, limits } = pod.spec?.containers.find((one) => one.name === name)?.resources ?? {};
  return bytesOf(requests?.[resource] ?? limits?.[resource] ?? 0);
}

/** Bytes with the largest suffix that leaves a whole number, as Kubernetes' quantities are written. */
function formatAmount(value: number, signal: Signal): string {
  if (signal === 'pid.available' || signal === 'nodefs.inodesFree') return String(Math.floor(value));
  let amount = Math.floor(value);
  for (const suffix of ['', 'Ki', 'Mi', 'Gi', 'Ti']) {
    if (amount === 0 || amount % 1024 !== 0 || suffix === 'Ti') return `${amount}${suffix}`;
    amount /= 1024;
  }
  return String(amount);
}
