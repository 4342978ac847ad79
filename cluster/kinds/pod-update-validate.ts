/** What of a pod may change once it is there, with the errors of the API reference. */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid } from './field-errors.ts';
import { validateGatedUpdate } from './gated-pod-update.ts';
import type { Container, Pod, PodSpec, Toleration } from './types/core.ts';

/** Of a running pod only images, deadlines, tolerations to add and scheduling gates to lift may change. */
export function validatePodUpdate(now: Pod, old: Pod): FieldError[] {
  const [spec, before] = [now.spec ?? { containers: [] }, old.spec ?? { containers: [] }];
  for (const field of ['containers', 'initContainers'] as const)
    if ((spec[field] ?? []).length !== (before[field] ?? []).length)
      return [forbidden(`spec.${field}`, 'pod updates may not add or remove containers')];
  const errors: FieldError[] = [...deadlineErrors(spec, before), ...tolerationErrors(spec, before)];
  const gates = new Set((before.schedulingGates ?? []).map((gate) => gate.name));
  for (const gate of spec.schedulingGates ?? []) {
    if (!gates.has(gate.name))
      errors.push(forbidden('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate'));
  }
  if (gates.size > 0) errors.push(...validateGatedUpdate(spec, before));
  const rest = frozenSpec(graceSettled(spec, before), gates.size > 0);
  if (!isDeepStrictEqual(rest, frozenSpec(before, gates.size > 0)))
    errors.push(
      forbidden(
        'spec',
        'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
      ),
    );
  return errors;
}

/** What a negative grace means may be written instead of it, and is no change. */
function graceSettled(now: PodSpec, { terminationGracePeriodSeconds: grace = 0 }: PodSpec): PodSpec {
  const isSettled = grace < 0 && now.terminationGracePeriodSeconds === 1;
  return isSettled ? { ...now, terminationGracePeriodSeconds: grace } : now;
}

/** A deadline only comes nearer. */
function deadlineErrors(
  { activeDeadlineSeconds: now }: PodSpec,
  { activeDeadlineSeconds: old }: PodSpec,
): FieldError[] {
  const field = 'spec.activeDeadlineSeconds';
  if (old === undefined || now === old) return [];
  if (now === undefined) return [invalid(field, null, 'must not update from a positive integer to nil value')];
  return now > old ? [invalid(field, now, 'must be less than or equal to previous value')] : [];
}

/** What was tolerated stays so; for how long may change. */
function tolerationErrors({ tolerations: now = [] }: PodSpec, { tolerations: old = [] }: PodSpec): FieldError[] {
  const same = (one: Toleration, other: Toleration): boolean =>
    isDeepStrictEqual({ ...one, tolerationSeconds: 0 }, { ...other, tolerationSeconds: 0 });
  return old.every((one) => now.some((other) => same(one, other)))
    ? []
    : [forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')];
}

/** The part that may not change. Of a gated pod the choice of nodes may, within limits of its own. */
function frozenSpec(pod: PodSpec, isGated: boolean): unknown {
  const { activeDeadlineSeconds: _deadline, tolerations: _tolerations, schedulingGates: _gates, ...spec } = pod;
  const withoutImages = (containers: Container[] | undefined) =>
    containers?.map((container) => ({ ...container, image: '' }));
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  return {
    ...spec,
    containers: withoutImages(spec.containers),
    initContainers: withoutImages(spec.initContainers),
    ...(isGated && { nodeSelector: undefined, affinity: { podAffinity, podAntiAffinity } }),
  };
}
