import { nodes } from '../../kinds/resources.ts';
import { nodeTaintsChanged } from '../node-changes.ts';
import type { NodeInfo } from '../node-info.ts';
import { normalizeByGreatest } from '../normalize.ts';
import { hint, type Plugin, type Rejection, unresolvable } from '../plugin.ts';
import { tolerates } from '../tolerates.ts';

const rejections = new Map<string, Rejection>();

/** Kept, because thousands of nodes may carry one taint. */
function rejectionFor(key: string, value: string): Rejection {
  const reason = `node(s) had untolerated taint {${key}: ${value}}`;
  let found = rejections.get(reason);
  if (!found) {
    if (rejections.size >= 1000) rejections.clear();
    rejections.set(reason, (found = unresolvable(reason)));
  }
  return found;
}

export const taintToleration: Plugin = {
  name: 'TaintToleration',
  weight: 3,
  filter({ pod }) {
    const tolerations = pod.spec?.tolerations ?? [];
    return {
      likeness: JSON.stringify(tolerations),
      check({ hardTaints }) {
        for (const taint of hardTaints)
          if (!tolerates(tolerations, taint)) return rejectionFor(taint.key, taint.value ?? '');
        return undefined;
      },
    };
  },
  /** The fewer taints it would only rather not bear, the better. */
  score({ pod }, cluster) {
    if (cluster.nodesWithSoftTaints === 0) return undefined;
    const tolerations = (pod.spec?.tolerations ?? []).filter(({ effect }) => !effect || effect === 'PreferNoSchedule');
    return {
      likeness: JSON.stringify(tolerations),
      score: ({ softTaints }: NodeInfo) => softTaints.filter((taint) => !tolerates(tolerations, taint)).length,
      normalize: (scores) => normalizeByGreatest(scores, true),
    };
  },
  hints: [
    hint(
      nodes,
      ({ pod }, now, old) =>
        nodeTaintsChanged(now, old) &&
        (now?.spec?.taints ?? []).every(
          (taint) => taint.effect === 'PreferNoSchedule' || tolerates(pod.spec?.tolerations, taint),
        ),
    ),
  ],
};
