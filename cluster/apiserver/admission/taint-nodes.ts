/** A new node takes no pods until it has said that it is ready (Kubernetes "Taint Nodes by Condition"). */
import { nodes } from '../../kinds/resources.ts';
import type { Node } from '../../kinds/types/core.ts';
import { type AdmissionPlugin, isKind } from './plugin.ts';

const NOT_READY = { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' };

export const taintNodes: AdmissionPlugin = {
  name: 'TaintNodesByCondition',
  mutate(request) {
    if (request.operation !== 'CREATE' || !isKind(request, nodes)) return;
    const node = request.object as Node;
    const taints = node.spec?.taints ?? [];
    if (taints.some(({ key, effect }) => key === NOT_READY.key && effect === NOT_READY.effect)) return;
    node.spec = { ...node.spec, taints: [...taints, { ...NOT_READY }] };
  },
};
