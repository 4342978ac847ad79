/** What a pod's spec must be, with the errors of the API reference. */
import { containerErrors, hostPortErrors } from './container-validate.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, invalid, notSupported, required } from './field-errors.ts';
import { dnsLabelProblem, dnsSubdomainProblem, qualifiedNameProblem, validateLabels } from './names.ts';
import { podNetworkErrors } from './pod-network-validate.ts';
import { validateScheduling } from './scheduling-validate.ts';
import { osErrors, podSecurityErrors } from './security-validate.ts';
import type { PodSpec } from './types/core.ts';
import { validateDevices, validateMounts, validateVolumes } from './volume-validate.ts';

const RESTART_POLICIES = ['Always', 'OnFailure', 'Never'];
const PREEMPTION_POLICIES = ['Never', 'PreemptLowerPriority'];
const DEFAULT_GRACE = 30;

export function validatePodSpec(spec: PodSpec, at: string): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = validateVolumes(spec.volumes ?? [], `${at}.volumes`, errors);
  if ((spec.containers ?? []).length === 0) errors.push(required(`${at}.containers`));
  const names = new Set<string>();
  const terminationGracePeriodSeconds = spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE;
  for (const [field, containers] of [
    ['initContainers', spec.initContainers],
    ['containers', spec.containers],
  ] as const) {
    for (const [index, container] of (containers ?? []).entries()) {
      const path = `${at}.${field}[${index}]`;
      if (names.has(container.name)) errors.push(duplicate(`${path}.name`, container.name));
      names.add(container.name);
      const role = { isInit: field === 'initContainers', terminationGracePeriodSeconds };
      errors.push(...containerErrors(container, path, role));
      errors.push(...validateMounts(container, `${path}.volumeMounts`, new Set(volumes.keys())));
      errors.push(...validateDevices(container, path, volumes));
    }
  }
  errors.push(...hostPortErrors(spec.containers ?? [], `${at}.containers`, spec.hostNetwork === true));
  return [
    ...errors,
    ...lifeErrors(spec, at),
    ...validateScheduling(spec, at),
    ...validateLabels(spec.nodeSelector, `${at}.nodeSelector`),
    ...podNetworkErrors(spec, at),
    ...podSecurityErrors(spec, at),
    ...osErrors(spec, at),
    ...nameErrors(spec, at),
  ];
}

function lifeErrors(spec: PodSpec, at: string): FieldError[] {
  const { restartPolicy, activeDeadlineSeconds, preemptionPolicy } = spec;
  const errors: FieldError[] = [];
  if (!RESTART_POLICIES.includes(restartPolicy ?? ''))
    errors.push(notSupported(`${at}.restartPolicy`, restartPolicy, RESTART_POLICIES));
  if (activeDeadlineSeconds !== undefined && activeDeadlineSeconds < 1)
    errors.push(
      invalid(`${at}.activeDeadlineSeconds`, activeDeadlineSeconds, 'must be between 1 and 2147483647, inclusive'),
    );
  if (preemptionPolicy !== undefined && !PREEMPTION_POLICIES.includes(preemptionPolicy))
    errors.push(notSupported(`${at}.preemptionPolicy`, preemptionPolicy, PREEMPTION_POLICIES));
  for (const [index, { conditionType }] of (spec.readinessGates ?? []).entries()) {
    const problem = qualifiedNameProblem(conditionType);
    if (problem !== undefined)
      errors.push(invalid(`${at}.readinessGates[${index}].conditionType`, conditionType, problem));
  }
  return errors;
}

function nameErrors(spec: PodSpec, at: string): FieldError[] {
  const problems = {
    hostname: dnsLabelProblem,
    subdomain: dnsLabelProblem,
    nodeName: dnsSubdomainProblem,
    serviceAccountName: dnsSubdomainProblem,
    priorityClassName: dnsSubdomainProblem,
    runtimeClassName: dnsSubdomainProblem,
  } as const;
  return Object.entries(problems).flatMap(([field, problemOf]) => {
    const value = spec[field as keyof typeof problems];
    const problem = value ? problemOf(value) : undefined;
    return problem === undefined ? [] : [invalid(`${at}.${field}`, value, problem)];
  });
}
