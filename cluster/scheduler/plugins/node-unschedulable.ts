import { nodes } from '../../kinds/resources.ts';
import type { Taint } from '../../kinds/types/core.ts';
import { nodeTaintsChanged } from '../node-changes.ts';
import { hint, type Plugin, unresolvable } from '../plugin.ts';
import { tolerates } from '../tolerates.ts';

const cordoned = unresolvable('node(s) were unschedulable');
const taint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** Keeps pods off nodes that were cordoned, but for those that tolerate it. */
export const nodeUnschedulable: Plugin = {
  name: 'NodeUnschedulable',
  filter({ pod }) {
    if (tolerates(pod.spec?.tolerations, taint)) return undefined;
    return { likeness: '', check: ({ unschedulable }) => (unschedulable ? cordoned : undefined) };
  },
  hints: [hint(nodes, (_pod, now, old) => nodeTaintsChanged(now, old) && now?.spec?.unschedulable !== true)],
};
