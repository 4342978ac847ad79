/** What a pod's spec must be, with the errors of the API reference. */
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { validateGatedUpdate } from './gated-pod-update.ts';
import { dnsLabelProblem, dnsSubdomainProblem } from './names.ts';
import { quantityProblem } from './quantity.ts';
import { validateScheduling } from './scheduling-validate.ts';
import type { Container, Pod, PodSpec, Probe } from './types/core.ts';
import { validateMounts, validateVolumes } from './volume-validate.ts';

const RESTART_POLICIES = ['Always', 'OnFailure', 'Never'];
const DNS_POLICIES = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'];
const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];

export function validatePodSpec(spec: PodSpec, at: string): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = validateVolumes(spec.volumes ?? [], `${at}.volumes`, errors);
  const names = new Set<string>();
  if ((spec.containers ?? []).length === 0) errors.push(required(`${at}.containers`));
  for (const [field, containers] of [
    ['initContainers', spec.initContainers],
    ['containers', spec.containers],
  ] as const) {
    for (const [index, container] of (containers ?? []).entries()) {
      const path = `${at}.${field}[${index}]`;
      if (names.has(container.name)) errors.push(duplicate(`${path}.name`, container.name));
      names.add(container.name);
      validateContainer(container, path, volumes, errors);
    }
  }
  if (!RESTART_POLICIES.includes(spec.restartPolicy ?? ''))
    errors.push(notSupported(`${at}.restartPolicy`, spec.restartPolicy, RESTART_POLICIES));
  if (!DNS_POLICIES.includes(spec.dnsPolicy ?? ''))
    errors.push(notSupported(`${at}.dnsPolicy`, spec.dnsPolicy, DNS_POLICIES));
  if ((spec.terminationGracePeriodSeconds ?? 0) < 0)
    errors.push(
      invalid(
        `${at}.terminationGracePeriodSeconds`,
        spec.terminationGracePeriodSeconds,
        'must be greater than or equal to 0',
      ),
    );
  if (spec.activeDeadlineSeconds !== undefined && spec.activeDeadlineSeconds < 1)
    errors.push(
      invalid(`${at}.activeDeadlineSeconds`, spec.activeDeadlineSeconds, 'must be between 1 and 2147483647, inclusive'),
    );
  errors.push(...validateScheduling(spec, at));
  checkName(spec.hostname, `${at}.hostname`, dnsLabelProblem, errors);
  checkName(spec.subdomain, `${at}.subdomain`, dnsLabelProblem, errors);
  checkName(spec.nodeName, `${at}.nodeName`, dnsSubdomainProblem, errors);
  checkName(spec.serviceAccountName, `${at}.serviceAccountName`, dnsSubdomainProblem, errors);
  return errors;
}

/** Of a running pod only images, deadlines, tolerations to add and scheduling gates to lift may change. */
export function validatePodUpdate(now: Pod, old: Pod): FieldError[] {
  const errors: FieldError[] = [];
  const gates = new Set((old.spec?.schedulingGates ?? []).map((gate) => gate.name));
  for (const gate of now.spec?.schedulingGates ?? []) {
    if (!gates.has(gate.name))
      errors.push(forbidden('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate'));
  }
  if (gates.size > 0 && now.spec !== undefined && old.spec !== undefined)
    errors.push(...validateGatedUpdate(now.spec, old.spec));
  if (canonical(frozenSpec(now, old)) !== canonical(frozenSpec(old, old)))
    errors.push(
      forbidden(
        'spec',
        'pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations), `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
      ),
    );
  return errors;
}

/** The part that may not change. Of a gated pod the choice of nodes may, within limits of its own. */
function frozenSpec(pod: Pod, old: Pod): unknown {
  const spec: Partial<PodSpec> = { ...(pod.spec ?? { containers: [] }) };
  delete spec.activeDeadlineSeconds;
  delete spec.tolerations;
  delete spec.schedulingGates;
  if ((old.spec?.schedulingGates ?? []).length > 0) {
    delete spec.nodeSelector;
    const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
    spec.affinity = { ...(podAffinity && { podAffinity }), ...(podAntiAffinity && { podAntiAffinity }) };
  }
  const withoutImages = (containers: Container[] | undefined) =>
    containers?.map((container) => ({ ...container, image: '' }));
  return {
    ...spec,
    containers: withoutImages(spec.containers),
    initContainers: withoutImages(spec.initContainers),
  };
}

/** JSON with keys in order, so that two writings of one value are equal. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function validateContainer(container: Container, at: string, volumes: Set<string>, errors: FieldError[]): void {
  if (!container.name) errors.push(required(`${at}.name`));
  checkName(container.name, `${at}.name`, dnsLabelProblem, errors);
  if (!container.image) errors.push(required(`${at}.image`));
  else if (container.image.trim() !== container.image)
    errors.push(invalid(`${at}.image`, container.image, 'must not have leading or trailing whitespace'));
  if (!PULL_POLICIES.includes(container.imagePullPolicy ?? ''))
    errors.push(notSupported(`${at}.imagePullPolicy`, container.imagePullPolicy, PULL_POLICIES));
  for (const [index, port] of (container.ports ?? []).entries()) {
    const path = `${at}.ports[${index}]`;
    if (!isPort(port.containerPort))
      errors.push(invalid(`${path}.containerPort`, port.containerPort, 'must be between 1 and 65535, inclusive'));
    if (port.hostPort !== undefined && port.hostPort !== 0 && !isPort(port.hostPort))
      errors.push(invalid(`${path}.hostPort`, port.hostPort, 'must be between 1 and 65535, inclusive'));
    if (!PROTOCOLS.includes(port.protocol ?? ''))
      errors.push(notSupported(`${path}.protocol`, port.protocol, PROTOCOLS));
  }
  for (const [index, variable] of (container.env ?? []).entries()) {
    const path = `${at}.env[${index}]`;
    if (!variable.name) errors.push(required(`${path}.name`));
    else if (!/^[^=\0]+$/.test(variable.name))
      errors.push(invalid(`${path}.name`, variable.name, "a valid environment variable name must not contain '='"));
    if (variable.valueFrom !== undefined && variable.value !== undefined && variable.value !== '')
      errors.push(invalid(`${path}.valueFrom`, '', 'may not be specified when `value` is not empty'));
  }
  errors.push(...validateMounts(container, `${at}.volumeMounts`, volumes));
  validateResources(container, `${at}.resources`, errors);
  for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const)
    if (container[probe] !== undefined) validateProbe(container[probe], `${at}.${probe}`, errors);
}

function validateResources(container: Container, at: string, errors: FieldError[]): void {
  for (const field of ['limits', 'requests'] as const) {
    for (const [name, quantity] of Object.entries(container.resources?.[field] ?? {})) {
      const problem = quantityProblem(quantity);
      if (problem !== undefined) errors.push(invalid(`${at}.${field}[${name}]`, quantity, problem));
      else if (quantity.startsWith('-'))
        errors.push(invalid(`${at}.${field}[${name}]`, quantity, 'must be greater than or equal to 0'));
    }
  }
}

function validateProbe(probe: Probe, at: string, errors: FieldError[]): void {
  const handlers = [probe.exec, probe.httpGet, probe.tcpSocket, probe.grpc].filter((one) => one !== undefined);
  if (handlers.length === 0) errors.push(required(at, 'must specify a handler type'));
  if (handlers.length > 1) errors.push(forbidden(at, 'may not specify more than 1 handler type'));
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ] as const) {
    if ((probe[field] ?? 0) < 0)
      errors.push(invalid(`${at}.${field}`, probe[field], 'must be greater than or equal to 0'));
  }
}

function checkName(
  value: string | undefined,
  at: string,
  problemOf: (value: string) => string | undefined,
  errors: FieldError[],
): void {
  const problem = value ? problemOf(value) : undefined;
  if (problem !== undefined) errors.push(invalid(at, value, problem));
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}
