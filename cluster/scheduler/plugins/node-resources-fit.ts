import { nodes, pods } from '../../kinds/resources.ts';
import { nodeRoomGrew } from '../node-changes.ts';
import type { NodeInfo } from '../node-info.ts';
import { hint, type Plugin, type Rejection, rejection } from '../plugin.ts';
import type { PodInfo } from '../pod-info.ts';
import { parseResources, type Resources, resourcesText } from '../resources.ts';

const insufficient = new Map<string, Rejection>();

/** Kept by what is missing. */
function rejectionFor(missing: string[]): Rejection {
  const key = missing.join('\n');
  let found = insufficient.get(key);
  if (!found) {
    if (insufficient.size >= 1000) insufficient.clear();
    insufficient.set(key, (found = rejection(...missing)));
  }
  return found;
}

/** Would the pod have room? The common case, told without a list. */
function fits(wanted: Resources, { allocatable, requested, pods: there }: NodeInfo): boolean {
  if (there.size + 1 > allocatable.pods) return false;
  if (wanted.cpu > 0 && wanted.cpu > allocatable.cpu - requested.cpu) return false;
  if (wanted.memory > 0 && wanted.memory > allocatable.memory - requested.memory) return false;
  const { ephemeralStorage, others } = wanted;
  if (ephemeralStorage > 0 && ephemeralStorage > allocatable.ephemeralStorage - requested.ephemeralStorage)
    return false;
  if (others === undefined) return true;
  for (const [name, value] of others)
    if (value > 0 && value > (allocatable.others?.get(name) ?? 0) - (requested.others?.get(name) ?? 0)) return false;
  return true;
}

function missing(wanted: Resources, { allocatable, requested, pods: there }: NodeInfo): string[] {
  const lacks = (value: number, has: number, used: number): boolean => value > 0 && value > has - used;
  const found: string[] = [];
  if (there.size + 1 > allocatable.pods) found.push('Too many pods');
  if (lacks(wanted.cpu, allocatable.cpu, requested.cpu)) found.push('Insufficient cpu');
  if (lacks(wanted.memory, allocatable.memory, requested.memory)) found.push('Insufficient memory');
  if (lacks(wanted.ephemeralStorage, allocatable.ephemeralStorage, requested.ephemeralStorage))
    found.push('Insufficient ephemeral-storage');
  for (const [name, value] of wanted.others ?? [])
    if (lacks(value, allocatable.others?.get(name) ?? 0, requested.others?.get(name) ?? 0))
      found.push(`Insufficient ${name}`);
  return found;
}

/** A part of what there is that would be left, 0 to 100. */
function leftOf(capacity: number, used: number): number {
  return used > capacity ? 0 : Math.floor(((capacity - used) * 100) / capacity);
}

/** The emptier the node would be, the better: cpu and memory count the same. */
function leastAllocated({ scoredCpu, scoredMemory }: PodInfo, node: NodeInfo): number {
  const { cpu, memory } = node.allocatable;
  let sum = 0;
  let resources = 0;
  if (cpu > 0) {
    sum += leftOf(cpu, node.scoredCpu + scoredCpu);
    resources++;
  }
  if (memory > 0) {
    sum += leftOf(memory, node.scoredMemory + scoredMemory);
    resources++;
  }
  return resources === 0 ? 0 : Math.floor(sum / resources);
}

export const nodeResourcesFit: Plugin = {
  name: 'NodeResourcesFit',
  weight: 1,
  filter({ requests }) {
    return {
      likeness: resourcesText(requests),
      check: (node) => (fits(requests, node) ? undefined : rejectionFor(missing(requests, node))),
    };
  },
  score(pod) {
    return { likeness: `${pod.scoredCpu}/${pod.scoredMemory}`, score: (node) => leastAllocated(pod, node) };
  },
  hints: [
    // Every pod that goes leaves a place, which may be all that was missing.
    hint(pods, (_pod, now) => now === undefined),
    hint(nodes, ({ requests }, now, old) => {
      if (!nodeRoomGrew(now, old)) return false;
      const allocatable = parseResources(now?.status?.allocatable ?? now?.status?.capacity);
      return requests.cpu <= allocatable.cpu && requests.memory <= allocatable.memory;
    }),
  ],
};
