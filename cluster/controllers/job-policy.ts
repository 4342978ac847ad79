/** What a Job's policies say of its pods: podFailurePolicy and successPolicy. */
import type { Stored } from '../kinds/kind.ts';
import type { JobSpec, PodFailurePolicyRule } from '../kinds/types/batch.ts';
import type { ContainerStatus, Pod } from '../kinds/types/core.ts';
import { parseIndexes } from './job-indexes.ts';

export interface FailureVerdict {
  action: 'Count' | 'FailIndex' | 'FailJob' | 'Ignore';
  /** Which rule, and why it matched. */
  message: string;
}

function exited(pod: Pod, { onExitCodes }: PodFailurePolicyRule): ContainerStatus | undefined {
  if (!onExitCodes) return undefined;
  const { containerName, operator, values } = onExitCodes;
  const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return all.find(({ name, state }) => {
    const code = state?.terminated?.exitCode;
    if (code === undefined || code === 0 || (containerName !== undefined && name !== containerName)) return false;
    return values.includes(code) === (operator === 'In');
  });
}

/** The first rule that matches a failed pod; undefined where none does. */
export function failureVerdict(spec: JobSpec | undefined, pod: Stored<Pod>): FailureVerdict | undefined {
  const subject = `${pod.metadata.namespace}/${pod.metadata.name}`;
  for (const [index, rule] of (spec?.podFailurePolicy?.rules ?? []).entries()) {
    const action = rule.action as FailureVerdict['action'];
    const matching = `matching ${action} rule at index ${index}`;
    const container = exited(pod, rule);
    if (container) {
      const code = container.state?.terminated?.exitCode;
      const message = `Container ${container.name} for pod ${subject} failed with exit code ${code} ${matching}`;
      return { action, message };
    }
    const condition = rule.onPodConditions?.find((pattern) =>
      pod.status?.conditions?.some(({ type, status }) => type === pattern.type && status === pattern.status),
    );
    if (condition) return { action, message: `Pod ${subject} has condition ${condition.type} ${matching}` };
  }
  return undefined;
}

/** Which rule of the success policy is met by these indexes; undefined where none is. */
export function successRule(spec: JobSpec | undefined, succeeded: ReadonlySet<number>): string | undefined {
  for (const [index, { succeededIndexes, succeededCount }] of (spec?.successPolicy?.rules ?? []).entries()) {
    const wanted = succeededIndexes === undefined ? undefined : parseIndexes(succeededIndexes, spec?.completions ?? 0);
    const done = wanted === undefined ? succeeded.size : [...wanted].filter((one) => succeeded.has(one)).length;
    if (done < (succeededCount ?? wanted?.size ?? spec?.completions ?? 0)) continue;
    return `Matched rules at index ${index}`;
  }
  return undefined;
}
