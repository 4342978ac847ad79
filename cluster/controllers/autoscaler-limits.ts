/**
 * How much of what the metrics ask for an autoscaler does now. Pure, over what it remembers of the last minutes: windows of
 * stabilization, policies of speed, and the bounds of its spec (Kubernetes, "Horizontal Pod Autoscaling", "Configurable scaling
 * behavior"). Times in milliseconds.
 */
import type { HorizontalPodAutoscalerSpec, HPAScalingRules } from '../kinds/types/autoscaling-v2.ts';

/** What was asked for, and what was done. Lost with the process, as upstream: then it begins with what is there. */
export interface Memory {
  recommendations: { at: number; replicas: number }[];
  /** By how many replicas it changed. */
  ups: { at: number; change: number }[];
  downs: { at: number; change: number }[];
}

export interface LimitInput {
  spec: HorizontalPodAutoscalerSpec;
  current: number;
  /** By the metrics. */
  wanted: number;
  memory: Memory;
  now: number;
}

export interface Verdict {
  replicas: number;
  /** Of the condition AbleToScale. */
  able: Reason;
  limited: Reason & { status: 'True' | 'False' };
}

interface Reason {
  reason: string;
  message: string;
}

interface Step extends Reason {
  replicas: number;
}

/** For taking replicas away, where nothing else is said. */
const DOWN_STABILIZATION = 300_000;
const LONGEST_WINDOW = 3_600_000;

const READY = { reason: 'ReadyForNewScale', message: 'recommended size matches current size' };
const HIGHER = {
  reason: 'ScaleDownStabilized',
  message: 'recent recommendations were higher than current one, applying the highest recent recommendation',
};
const LOWER = {
  reason: 'ScaleUpStabilized',
  message: 'recent recommendations were lower than current one, applying the lowest recent recommendation',
};
const TOO_FEW = {
  reason: 'TooFewReplicas',
  message: 'the desired replica count is less than the minimum replica count',
};
const TOO_MANY = {
  reason: 'TooManyReplicas',
  message: 'the desired replica count is more than the maximum replica count',
};
const UP_LIMIT = {
  reason: 'ScaleUpLimit',
  message: 'the desired replica count is increasing faster than the maximum scale rate',
};
const DOWN_LIMIT = {
  reason: 'ScaleDownLimit',
  message: 'the desired replica count is decreasing faster than the maximum scale rate',
};
const WITHIN = { reason: 'DesiredWithinRange', message: 'the desired count is within the acceptable range' };

/** Notes the recommendation in the memory. */
export function limit(input: LimitInput): Verdict {
  const { wanted, memory, now, spec } = input;
  const stabilized = spec.behavior === undefined ? highestRecent(input) : stabilize(input);
  memory.recommendations = memory.recommendations.filter(({ at }) => at > now - LONGEST_WINDOW);
  memory.recommendations.push({ at: now, replicas: wanted });
  const { replicas, ...why } =
    spec.behavior === undefined ? usualSpeed(input, stabilized.replicas) : bySpeed(input, stabilized.replicas);
  return {
    replicas,
    able: stabilized.replicas === wanted ? READY : { reason: stabilized.reason, message: stabilized.message },
    limited: { status: replicas === stabilized.replicas ? 'False' : 'True', ...why },
  };
}

/** Notes what was done, for the policies of speed. */
export function noteScale(memory: Memory, from: number, to: number, now: number): void {
  const changes = to > from ? memory.ups : memory.downs;
  changes.splice(0, changes.length, ...changes.filter(({ at }) => at > now - LONGEST_WINDOW));
  changes.push({ at: now, change: Math.abs(to - from) });
}

function highestRecent({ wanted, memory, now }: LimitInput): Step {
  const recent = memory.recommendations.filter(({ at }) => at > now - DOWN_STABILIZATION);
  return { replicas: recent.reduce((most, { replicas }) => Math.max(most, replicas), wanted), ...HIGHER };
}

function stabilize({ spec, current, wanted, memory, now }: LimitInput): Step {
  const window = (rules: HPAScalingRules | undefined, usual: number) =>
    rules?.stabilizationWindowSeconds === undefined ? usual : rules.stabilizationWindowSeconds * 1_000;
  const upSince = now - window(spec.behavior?.scaleUp, 0);
  const downSince = now - window(spec.behavior?.scaleDown, DOWN_STABILIZATION);
  let [up, down] = [wanted, wanted];
  for (const { at, replicas } of memory.recommendations) {
    if (at > upSince) up = Math.min(up, replicas);
    if (at > downSince) down = Math.max(down, replicas);
  }
  const replicas = Math.min(Math.max(current, up), down);
  return { replicas, ...(wanted >= current ? LOWER : HIGHER) };
}

/** Without a behavior: at most twice as many at once, or four. */
function usualSpeed({ spec, current }: LimitInput, wanted: number): Step {
  const least = spec.minReplicas ?? 1;
  const fastest = Math.max(2 * current, 4);
  const most = Math.min(spec.maxReplicas, fastest);
  if (wanted < least) return { replicas: least, ...TOO_FEW };
  if (wanted > most) return { replicas: most, ...(spec.maxReplicas > fastest ? UP_LIMIT : TOO_MANY) };
  return { replicas: wanted, ...WITHIN };
}

function bySpeed({ spec, current, memory, now }: LimitInput, wanted: number): Step {
  if (wanted > current) {
    const fastest = Math.max(current, upLimit(spec.behavior?.scaleUp, current, memory, now));
    const most = Math.min(spec.maxReplicas, fastest);
    if (wanted > most) return { replicas: most, ...(spec.maxReplicas > fastest ? UP_LIMIT : TOO_MANY) };
  } else if (wanted < current) {
    const fastest = Math.min(current, downLimit(spec.behavior?.scaleDown, current, memory, now));
    const minimum = spec.minReplicas ?? 1;
    const least = Math.max(minimum, fastest);
    if (wanted < least) return { replicas: least, ...(minimum < fastest ? DOWN_LIMIT : TOO_FEW) };
  }
  return { replicas: wanted, ...WITHIN };
}

function upLimit(rules: HPAScalingRules | undefined, current: number, memory: Memory, now: number): number {
  const limits = policyLimits(rules, { current, memory, now }, (start, { type, value }) =>
    type === 'Pods' ? start + value : Math.ceil(start * (1 + value / 100)),
  );
  if (limits === undefined) return current;
  return rules?.selectPolicy === 'Min' ? Math.min(...limits) : Math.max(...limits);
}

function downLimit(rules: HPAScalingRules | undefined, current: number, memory: Memory, now: number): number {
  const limits = policyLimits(rules, { current, memory, now }, (start, { type, value }) =>
    type === 'Pods' ? start - value : Math.trunc(start * (1 - value / 100)),
  );
  if (limits === undefined) return current;
  return rules?.selectPolicy === 'Min' ? Math.max(...limits) : Math.min(...limits);
}

/** What each policy allows from what there was when its period began; undefined where nothing may change. */
function policyLimits(
  rules: HPAScalingRules | undefined,
  { current, memory, now }: { current: number; memory: Memory; now: number },
  allowed: (start: number, policy: { type: string; value: number }) => number,
): number[] | undefined {
  if (rules?.selectPolicy === 'Disabled' || rules?.policies === undefined) return undefined;
  return rules.policies.map((policy) => {
    const since = now - policy.periodSeconds * 1_000;
    const sum = (changes: Memory['ups']) =>
      changes.reduce((total, { at, change }) => total + (at > since ? change : 0), 0);
    return allowed(current - sum(memory.ups) + sum(memory.downs), policy);
  });
}
