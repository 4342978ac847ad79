import type { PodSpec } from './types/core.ts';

const DEFAULT_GRACE = 30;

/** Seconds that a pod has to end. A negative number is valid, and means one, as upstream. */
export function terminationGrace(spec: Pick<PodSpec, 'terminationGracePeriodSeconds'> | undefined): number {
  const seconds = spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE;
  return seconds < 0 ? 1 : seconds;
}
