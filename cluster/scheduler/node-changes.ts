/** What changed of a node, for hints. A heartbeat changes nothing of these. */
import type { Stored } from '../kinds/kind.ts';
import type { Node } from '../kinds/types/core.ts';
import { sameLabels } from './pod-info.ts';
import { parseResources } from './resources.ts';

type Change = (now: Stored<Node> | undefined, old: Stored<Node> | undefined) => boolean;

export const nodeAdded: Change = (now, old) => now !== undefined && old === undefined;

export const nodeLabelsChanged: Change = (now, old) =>
  now !== undefined && (old === undefined || !sameLabels(now.metadata.labels, old.metadata.labels));

export const nodeTaintsChanged: Change = (now, old) =>
  now !== undefined &&
  (old === undefined ||
    now.spec?.unschedulable !== old.spec?.unschedulable ||
    JSON.stringify(now.spec?.taints) !== JSON.stringify(old.spec?.taints));

/** There is more of something. */
export const nodeRoomGrew: Change = (now, old) => {
  if (now === undefined || old === undefined) return now !== undefined;
  const [a, b] = [now.status?.allocatable ?? now.status?.capacity, old.status?.allocatable ?? old.status?.capacity];
  if (a === b || JSON.stringify(a) === JSON.stringify(b)) return false;
  const [after, before] = [parseResources(a), parseResources(b)];
  if (after.cpu > before.cpu || after.memory > before.memory || after.pods > before.pods) return true;
  if (after.ephemeralStorage > before.ephemeralStorage) return true;
  return [...(after.others ?? [])].some(([name, value]) => value > (before.others?.get(name) ?? 0));
};
