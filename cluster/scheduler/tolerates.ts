import type { Taint, Toleration } from '../kinds/types/core.ts';

/** Kubernetes, "Taints and Tolerations". */
export function tolerates(tolerations: readonly Toleration[] | undefined, taint: Taint): boolean {
  return (tolerations ?? []).some(({ key, operator = 'Equal', value = '', effect }) => {
    if (effect && effect !== taint.effect) return false;
    if (key && key !== taint.key) return false;
    if (!key && operator !== 'Exists') return false;
    return operator === 'Exists' || value === (taint.value ?? '');
  });
}
