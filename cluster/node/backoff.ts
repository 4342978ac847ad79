/**
 * How long a container that ended waits for its next start. Pure: the step (`crashes`) is a label of the container, so
 * a restarted agent goes on where the last one stopped.
 *
 *   kubernetes    at once, then 10 s doubling to 5 min; a run of 10 min begins anew
 *   cloudfoundry  three times at once, then 30 s doubling to 16 min; a run of 5 min begins anew
 */
import { backoffAnnotation } from './labels.ts';

export type BackoffPolicy = 'kubernetes' | 'cloudfoundry';

interface Steps {
  immediate: number;
  first: number;
  longest: number;
  /** A run at least this long forgets the crashes before it. */
  healthyAfter: number;
}

const policies: Record<BackoffPolicy, Steps> = {
  kubernetes: { immediate: 1, first: 10_000, longest: 300_000, healthyAfter: 600_000 },
  cloudfoundry: { immediate: 3, first: 30_000, longest: 960_000, healthyAfter: 300_000 },
};

export interface Run {
  /** Crashes in a row before this run. */
  crashes: number;
  startedAt: number | undefined;
  endedAt: number;
}

export interface Restart {
  /** Milliseconds since the epoch; in the past means now. */
  at: number;
  delay: number;
  /** `crashes` of the next run. */
  crashes: number;
}

export function backoffPolicyOf(annotations: Record<string, string> | undefined): BackoffPolicy {
  return annotations?.[backoffAnnotation] === 'cloudfoundry' ? 'cloudfoundry' : 'kubernetes';
}

export function nextRestart(policy: BackoffPolicy, run: Run): Restart {
  const steps = policies[policy];
  const healthy = run.startedAt !== undefined && run.endedAt - run.startedAt >= steps.healthyAfter;
  const crashes = healthy ? 0 : run.crashes;
  const delay = crashes < steps.immediate ? 0 : grow(steps.first, steps.longest, crashes - steps.immediate);
  return { at: run.endedAt + delay, delay, crashes: crashes + 1 };
}

/** `first * 2^step`, at most `longest`. */
export function grow(first: number, longest: number, step: number): number {
  return Math.min(longest, first * 2 ** Math.min(step, 30));
}
