import { isIP } from 'node:net';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { dns1035Problem, dnsSubdomainProblem } from './names.ts';
import { portNameProblem } from './probe-validate.ts';
import { ingressClasses, ingresses } from './resources.ts';
import { check, dnsLabel, dnsSubdomain, immutable, oneOf, pathSegment, port, present, setDefaults } from './rules.ts';
import type { HTTPIngressPath, Ingress, IngressBackend, IngressClass } from './types/networking.ts';

const HOSTS_SHOWN = 3;
const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

export const ingressKind = defineKind(ingresses, {
  schemaName: 'io.k8s.api.networking.v1.Ingress',
  shortNames: ['ing'],
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<Ingress>('Class', 'string', (one) => one.spec?.ingressClassName ?? '<none>'),
    column<Ingress>('Hosts', 'string', hostsText),
    column<Ingress>('Address', 'string', (one) =>
      [...new Set((one.status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip || (hostname ?? '')))]
        .sort()
        .join(','),
    ),
    column<Ingress>('Ports', 'string', (one) => ((one.spec?.tls ?? []).length > 0 ? '80, 443' : '80')),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { spec: {}, status: {}, 'status.loadBalancer': {} }),
  prepareForCreate: (object) => {
    (object as Ingress).status = { loadBalancer: {} };
  },
  validate: (object) => {
    const { spec } = object as Ingress;
    const errors: FieldError[] = [];
    if ((spec?.rules ?? []).length === 0 && spec?.defaultBackend === undefined)
      errors.push(invalid('spec', spec, 'either `defaultBackend` or `rules` must be specified'));
    if (spec?.defaultBackend !== undefined) errors.push(...validateBackend(spec.defaultBackend, 'spec.defaultBackend'));
    for (const [index, rule] of (spec?.rules ?? []).entries()) {
      const at = `spec.rules[${index}]`;
      errors.push(...hostProblem(rule.host, `${at}.host`));
      if (rule.http === undefined) continue;
      if ((rule.http.paths ?? []).length === 0) errors.push(required(`${at}.http.paths`));
      for (const [number, path] of rule.http.paths.entries())
        errors.push(...validatePath(path, `${at}.http.paths[${number}]`));
    }
    for (const [index, tls] of (spec?.tls ?? []).entries())
      for (const [at, host] of (tls.hosts ?? []).entries())
        errors.push(...nameProblem(host, `spec.tls[${index}].hosts[${at}]`));
    return [
      ...errors,
      ...check(object, { 'spec.ingressClassName': dnsSubdomain, 'spec.tls[*].secretName': dnsSubdomain }),
    ];
  },
  warnings: (object, old) => {
    const { metadata, spec } = object as Ingress;
    const isOld = metadata.annotations?.[CLASS_ANNOTATION] !== undefined && spec?.ingressClassName === undefined;
    if (old !== undefined || !isOld) return [];
    return [`annotation "${CLASS_ANNOTATION}" is deprecated, please use 'spec.ingressClassName' instead`];
  },
});

export const ingressClassKind = defineKind(ingressClasses, {
  schemaName: 'io.k8s.api.networking.v1.IngressClass',
  generation: true,
  columns: [
    nameColumn,
    column<IngressClass>('Controller', 'string', (one) => one.spec?.controller ?? ''),
    column<IngressClass>('Parameters', 'string', ({ spec }) => {
      const parameters = spec?.parameters;
      if (parameters === undefined) return '<none>';
      return `${parameters.kind}${parameters.apiGroup === undefined ? '' : `.${parameters.apiGroup}`}/${parameters.name}`;
    }),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { 'spec.parameters.scope': 'Cluster' }),
  validate: (object) => [
    ...check(object, {
      'spec.controller': [present(), controllerRule],
      'spec.parameters.apiGroup': dnsSubdomain,
      'spec.parameters.kind': [present('kind is required'), pathSegment],
      'spec.parameters.name': [present('name is required'), pathSegment],
      'spec.parameters.namespace': dnsLabel,
      'spec.parameters.scope': oneOf('Cluster', 'Namespace'),
    }),
    ...scopeProblem(object as IngressClass),
  ],
  validateUpdate: immutable('spec.controller'),
});

function controllerRule(value: unknown, field: string): FieldError[] {
  const text = String(value);
  if (text.length > 250) return [invalid(field, text, 'must be no more than 250 characters')];
  return /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(\/[A-Za-z0-9/_.-]+)$/.test(text)
    ? []
    : [invalid(field, text, 'must be a domain-prefixed path (such as "acme.io/foo")')];
}

function scopeProblem({ spec }: IngressClass): FieldError[] {
  const { scope, namespace } = spec?.parameters ?? {};
  if (scope === 'Namespace' && namespace === undefined)
    return [required('spec.parameters.namespace', "`parameters.scope` is set to 'Namespace'")];
  if (scope === 'Cluster' && namespace !== undefined)
    return [forbidden('spec.parameters.namespace', "`parameters.scope` is set to 'Cluster'")];
  return [];
}

function hostProblem(host: string | undefined, field: string): FieldError[] {
  if (host === undefined || host === '') return [];
  if (isIP(host) !== 0) return [invalid(field, host, 'must be a DNS name, not an IP address')];
  return nameProblem(host, field);
}

/** A name, or `*` and a name. */
function nameProblem(host: string, field: string): FieldError[] {
  const problem = dnsSubdomainProblem(host.replace(/^\*\./, ''));
  return problem === undefined ? [] : [invalid(field, host, problem)];
}

function validatePath({ path = '', pathType, backend }: HTTPIngressPath, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (pathType === undefined || (pathType as string) === '')
    errors.push(required(`${at}.pathType`, 'pathType must be specified'));
  else if (pathType === 'Exact' || pathType === 'Prefix') {
    if (!path.startsWith('/')) errors.push(invalid(`${at}.path`, path, 'must be an absolute path'));
    for (const part of ['//', '/./', '/../', '%2f', '%2F'])
      if (path.includes(part)) errors.push(invalid(`${at}.path`, path, `must not contain '${part}'`));
    for (const end of ['/..', '/.'])
      if (path.endsWith(end)) errors.push(invalid(`${at}.path`, path, `cannot end with '${end}'`));
  } else if (pathType === 'ImplementationSpecific') {
    if (path !== '' && !path.startsWith('/')) errors.push(invalid(`${at}.path`, path, 'must be an absolute path'));
  } else errors.push(notSupported(`${at}.pathType`, pathType, ['Exact', 'ImplementationSpecific', 'Prefix']));
  return [...errors, ...validateBackend(backend, `${at}.backend`)];
}

function validateBackend(backend: IngressBackend | undefined, at: string): FieldError[] {
  const { service, resource } = backend ?? {};
  if (service !== undefined && resource !== undefined)
    return [invalid(at, '', 'cannot set both resource and service backends')];
  if (resource !== undefined)
    return check(
      resource,
      {
        apiGroup: dnsSubdomain,
        kind: [present('kind is required'), pathSegment],
        name: [present('name is required'), pathSegment],
      },
      `${at}.resource`,
    );
  if (service === undefined) return [invalid(at, '', 'resource or service backend is required')];
  const errors: FieldError[] = [];
  if (!service.name) errors.push(required(`${at}.service.name`));
  else {
    const problem = dns1035Problem(service.name);
    if (problem !== undefined) errors.push(invalid(`${at}.service.name`, service.name, problem));
  }
  const { name, number } = service.port ?? {};
  if (name && number) errors.push(invalid(at, '', 'cannot set both port name & port number'));
  else if (name) {
    const problem = portNameProblem(name);
    if (problem !== undefined) errors.push(invalid(`${at}.service.port.name`, name, problem));
  } else if (number) errors.push(...port(number, `${at}.service.port.number`));
  else errors.push(required(at, 'port name or number is required'));
  return errors;
}

function hostsText({ spec }: Ingress): string {
  const rules = spec?.rules ?? [];
  const hosts = rules.map(({ host }) => host ?? '').filter((host) => host !== '');
  if (hosts.length === 0) return '*';
  const shown = hosts.slice(0, HOSTS_SHOWN).join(',');
  return hosts.length > HOSTS_SHOWN ? `${shown} + ${rules.length - HOSTS_SHOWN} more...` : shown;
}
