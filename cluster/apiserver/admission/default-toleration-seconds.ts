/** A pod stays for a while on a node that is not ready or does not answer (Kubernetes "DefaultTolerationSeconds"). */
import { pods } from '../../kinds/resources.ts';
import type { Pod, Toleration } from '../../kinds/types/core.ts';
import { type AdmissionPlugin, isKind } from './plugin.ts';

const TAINTS = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];

export function defaultTolerationSeconds(tolerationSeconds: number): AdmissionPlugin {
  return {
    name: 'DefaultTolerationSeconds',
    mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, pods)) return;
      const { spec } = request.object as Pod;
      if (spec === undefined) return;
      const own = spec.tolerations ?? [];
      const tolerates = (taint: string): boolean =>
        own.some(({ key, effect }) => (!key || key === taint) && (!effect || effect === 'NoExecute'));
      const added = TAINTS.filter((taint) => !tolerates(taint)).map(
        (key): Toleration => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds }),
      );
      if (added.length > 0) spec.tolerations = [...own, ...added];
    },
  };
}
