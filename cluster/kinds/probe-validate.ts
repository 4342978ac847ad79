/** What probes and hooks of a container must be, with the errors of the API reference. */
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import type { Container, HTTPGetAction, LifecycleHandler, Probe } from './types/core.ts';

const SCHEMES = ['HTTP', 'HTTPS'];
const HEADER = /^[-A-Za-z0-9]+$/;
const TIMES = [
  'initialDelaySeconds',
  'timeoutSeconds',
  'periodSeconds',
  'successThreshold',
  'failureThreshold',
] as const;

export function probeErrors(container: Container, at: string, graceSeconds: number): FieldError[] {
  const errors: FieldError[] = [];
  for (const hook of ['postStart', 'preStop'] as const) {
    const handler = container.lifecycle?.[hook];
    if (handler !== undefined) errors.push(...handlerErrors(handler, `${at}.lifecycle.${hook}`, graceSeconds));
  }
  for (const kind of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = container[kind];
    if (probe === undefined) continue;
    const path = `${at}.${kind}`;
    errors.push(...oneProbeErrors(probe, path, graceSeconds));
    const { successThreshold = 1, terminationGracePeriodSeconds: grace } = probe;
    if (kind === 'readinessProbe' && grace !== undefined)
      errors.push(invalid(`${path}.terminationGracePeriodSeconds`, grace, 'must not be set for readinessProbes'));
    if (kind !== 'readinessProbe' && successThreshold > 1)
      errors.push(invalid(`${path}.successThreshold`, successThreshold, 'must be 1'));
    if (kind !== 'readinessProbe' && grace !== undefined && grace <= 0)
      errors.push(invalid(`${path}.terminationGracePeriodSeconds`, grace, 'must be greater than 0'));
  }
  return errors;
}

function oneProbeErrors(probe: Probe, at: string, graceSeconds: number): FieldError[] {
  const errors = handlerErrors(probe, at, graceSeconds);
  for (const field of TIMES)
    if ((probe[field] ?? 0) < 0)
      errors.push(invalid(`${at}.${field}`, probe[field], 'must be greater than or equal to 0'));
  return errors;
}

type Handler = Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'> & Pick<LifecycleHandler, 'sleep'>;

function handlerErrors(
  { exec, httpGet, tcpSocket, grpc, sleep }: Handler,
  at: string,
  graceSeconds: number,
): FieldError[] {
  const given = Object.entries({ exec, httpGet, tcpSocket, grpc, sleep }).filter(([, one]) => one !== undefined);
  if (given.length === 0) return [required(at, 'must specify a handler type')];
  const errors = given.slice(1).map(([kind]) => forbidden(`${at}.${kind}`, 'may not specify more than 1 handler type'));
  if (exec !== undefined && (exec.command ?? []).length === 0) errors.push(required(`${at}.exec.command`));
  if (httpGet !== undefined) errors.push(...httpErrors(httpGet, `${at}.httpGet`));
  if (tcpSocket !== undefined) errors.push(...portErrors(tcpSocket.port, `${at}.tcpSocket.port`));
  if (grpc !== undefined) errors.push(...portErrors(grpc.port, `${at}.grpc.port`));
  if (sleep !== undefined && (sleep.seconds <= 0 || sleep.seconds > graceSeconds))
    errors.push(
      invalid(
        `${at}.sleep`,
        sleep.seconds,
        `must be greater than 0 and less than terminationGracePeriodSeconds (${graceSeconds})`,
      ),
    );
  return errors;
}

function httpErrors({ path, port, scheme = '', httpHeaders }: HTTPGetAction, at: string): FieldError[] {
  const errors = path ? [] : [required(`${at}.path`)];
  errors.push(...portErrors(port, `${at}.port`));
  if (!SCHEMES.includes(scheme)) errors.push(notSupported(`${at}.scheme`, scheme, SCHEMES));
  for (const [index, { name }] of (httpHeaders ?? []).entries())
    if (!HEADER.test(name))
      errors.push(
        invalid(
          `${at}.httpHeaders[${index}].name`,
          name,
          "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
        ),
      );
  return errors;
}

/** Of a port by its number or by its name. */
export function portErrors(port: number | string, field: string): FieldError[] {
  if (typeof port === 'number')
    return port >= 1 && port <= 65535 ? [] : [invalid(field, port, 'must be between 1 and 65535, inclusive')];
  const problem = portNameProblem(port);
  return problem === undefined ? [] : [invalid(field, port, problem)];
}

/** RFC 6335, section 5.1. */
export function portNameProblem(name: string): string | undefined {
  if (name.length > 15) return 'must be no more than 15 characters';
  if (!/^[-a-z0-9]+$/.test(name)) return 'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)';
  if (!/[a-z]/.test(name)) return 'must contain at least one letter (a-z)';
  if (name.includes('--')) return 'must not contain consecutive hyphens';
  return /^-|-$/.test(name) ? 'must not begin or end with a hyphen' : undefined;
}
