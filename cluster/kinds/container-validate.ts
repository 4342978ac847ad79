/** What a container must be, but for its volumes and its environment, with the errors of the API reference. */
import { parseAmount } from './amount.ts';
import { environmentErrors } from './environment-validate.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { dnsLabelProblem } from './names.ts';
import { portNameProblem, probeErrors } from './probe-validate.ts';
import { resourceNameProblem } from './resource-names.ts';
import { containerSecurityErrors } from './security-validate.ts';
import type { Container, ContainerPort, ResourceRequirements } from './types/core.ts';

const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const MESSAGE_POLICIES = ['FallbackToLogsOnError', 'File'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const NANO = 1_000_000_000n;

export interface ContainerRole {
  /** An init container; with `restartPolicy: Always` it is one that stays. */
  isInit: boolean;
  terminationGracePeriodSeconds: number;
}

export function containerErrors(container: Container, at: string, role: ContainerRole): FieldError[] {
  const { name, securityContext } = container;
  const problem = name ? dnsLabelProblem(name) : undefined;
  return [
    ...(name ? [] : [required(`${at}.name`)]),
    ...(problem === undefined ? [] : [invalid(`${at}.name`, name, problem)]),
    ...imageErrors(container, at),
    ...portErrors(container.ports ?? [], `${at}.ports`),
    ...environmentErrors(container, at),
    ...resourceErrors(container.resources ?? {}, `${at}.resources`),
    ...(securityContext === undefined ? [] : containerSecurityErrors(securityContext, `${at}.securityContext`)),
    ...roleErrors(container, at, role),
    ...probeErrors(container, at, role.terminationGracePeriodSeconds),
  ];
}

function imageErrors(
  { image, imagePullPolicy = '', terminationMessagePolicy = '' }: Container,
  at: string,
): FieldError[] {
  const errors: FieldError[] = [];
  if (!image) errors.push(required(`${at}.image`));
  else if (image.trim() !== image)
    errors.push(invalid(`${at}.image`, image, 'must not have leading or trailing whitespace'));
  if (!PULL_POLICIES.includes(imagePullPolicy))
    errors.push(notSupported(`${at}.imagePullPolicy`, imagePullPolicy, PULL_POLICIES));
  if (!MESSAGE_POLICIES.includes(terminationMessagePolicy))
    errors.push(notSupported(`${at}.terminationMessagePolicy`, terminationMessagePolicy, MESSAGE_POLICIES));
  return errors;
}

/** An init container that does not stay is asked nothing while it runs. */
function roleErrors(container: Container, at: string, { isInit }: ContainerRole): FieldError[] {
  const { restartPolicy } = container;
  const field = `${at}.restartPolicy`;
  if (!isInit) return restartPolicy === undefined ? [] : [forbidden(field, 'may not be set for non-init containers')];
  if (restartPolicy === 'Always') return [];
  const errors = restartPolicy === undefined ? [] : [notSupported(field, restartPolicy, ['Always'])];
  for (const name of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const)
    if (container[name] !== undefined)
      errors.push(forbidden(`${at}.${name}`, 'may not be set for init containers without restartPolicy=Always'));
  return errors;
}

function portErrors(ports: readonly ContainerPort[], at: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, { name, containerPort, hostPort = 0, protocol = '' }] of ports.entries()) {
    const path = `${at}[${index}]`;
    const problem = name ? portNameProblem(name) : undefined;
    if (problem !== undefined) errors.push(invalid(`${path}.name`, name, problem));
    else if (name && names.has(name)) errors.push(duplicate(`${path}.name`, name));
    if (name) names.add(name);
    if (!containerPort) errors.push(required(`${path}.containerPort`));
    else if (!isPort(containerPort))
      errors.push(invalid(`${path}.containerPort`, containerPort, 'must be between 1 and 65535, inclusive'));
    if (hostPort !== 0 && !isPort(hostPort))
      errors.push(invalid(`${path}.hostPort`, hostPort, 'must be between 1 and 65535, inclusive'));
    if (!PROTOCOLS.includes(protocol)) errors.push(notSupported(`${path}.protocol`, protocol, PROTOCOLS));
  }
  return errors;
}

/** Two containers of a pod cannot have one port of the host; and with the host's network every port is the host's. */
export function hostPortErrors(containers: readonly Container[], at: string, hostNetwork: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const taken = new Set<string>();
  for (const [index, { ports }] of containers.entries())
    for (const [place, { containerPort, hostPort = 0, hostIP = '', protocol }] of (ports ?? []).entries()) {
      const path = `${at}[${index}].ports[${place}]`;
      if (hostNetwork && hostPort !== containerPort)
        errors.push(
          invalid(`${path}.containerPort`, containerPort, 'must match `hostPort` when `hostNetwork` is true'),
        );
      if (hostPort === 0) continue;
      const key = `${protocol}/${hostIP}/${hostPort}`;
      if (taken.has(key)) errors.push(duplicate(`${path}.hostPort`, key));
      taken.add(key);
    }
  return errors;
}

export function resourceErrors({ limits = {}, requests = {} }: ResourceRequirements, at: string): FieldError[] {
  const errors = [...amountErrors(limits, `${at}.limits`), ...amountErrors(requests, `${at}.requests`)];
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    if (limit === undefined) {
      if (!mayOvercommit(name))
        errors.push(required(`${at}.limits`, 'Limit must be set for non overcommitable resources'));
      continue;
    }
    const [asked, most] = [parseAmount(request).nano, parseAmount(limit).nano];
    if (!mayOvercommit(name) && asked !== most)
      errors.push(invalid(`${at}.requests`, request, `must be equal to ${name} limit of ${limit}`));
    else if (asked > most)
      errors.push(invalid(`${at}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`));
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some((name) => name.startsWith('hugepages-')) && !names.includes('cpu') && !names.includes('memory'))
    errors.push(forbidden(at, 'HugePages require cpu or memory'));
  return errors;
}

function amountErrors(amounts: Readonly<Record<string, string>>, at: string): FieldError[] {
  return Object.entries(amounts).flatMap(([name, text]) => {
    const field = `${at}[${name}]`;
    const errors: FieldError[] = [];
    const problem = resourceNameProblem(name);
    if (problem !== undefined) errors.push(invalid(field, name, problem));
    const { nano } = parseAmount(text);
    if (nano < 0n) errors.push(invalid(field, text, 'must be greater than or equal to 0'));
    else if (name.includes('/') && nano % NANO !== 0n) errors.push(invalid(field, text, 'must be an integer'));
    return errors;
  });
}

/** Whole things of a node: what one container has no other has. */
function mayOvercommit(name: string): boolean {
  const domain = name.includes('/') ? name.slice(0, name.indexOf('/')) : '';
  return !name.startsWith('hugepages-') && (domain === '' || /(^|\.)kubernetes\.io$/.test(domain));
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}
