import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, formatMap, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { dns1035Problem, dnsSubdomainProblem, validateLabels } from './names.ts';
import { services } from './resources.ts';
import { validateFamilies, validateFamiliesUpdate } from './service-families.ts';
import { validateClassUpdate, validateTraffic } from './service-traffic.ts';
import { servicePortErrors } from './service-ports.ts';
import { serviceWarnings } from './service-warnings.ts';
import { dropOfFormerType } from './service-types.ts';
import type { Service, ServiceSpec } from './types/core.ts';

const TYPES = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];

export const serviceKind = defineKind(services, {
  schemaName: 'io.k8s.api.core.v1.Service',
  returnsDeleted: true,
  createOnUpdate: true,
  shortNames: ['svc'],
  categories: ['all'],
  nameRule: 'dns-label',
  subresources: { status: true },
  columns: [
    nameColumn,
    column<Service>('Type', 'string', (service) => service.spec?.type ?? ''),
    column<Service>('Cluster-IP', 'string', (service) => service.spec?.clusterIP || '<none>'),
    column<Service>('External-IP', 'string', externalText),
    column<Service>('Port(s)', 'string', portsText),
    ageColumn,
    column<Service>('Selector', 'string', (service) => formatMap(service.spec?.selector), { wide: true }),
  ],
  selectableFields: {
    'spec.clusterIP': (object) => (object as Service).spec?.clusterIP ?? '',
    'spec.type': (object) => (object as Service).spec?.type ?? '',
  },
  defaults: (object) => {
    const service = object as Service;
    service.spec ??= {};
    defaultSpec(service.spec);
    service.status ??= { loadBalancer: {} };
  },
  prepareForCreate: (object) => {
    const service = object as Service;
    service.status = { loadBalancer: {} };
    if (service.spec?.clusterIP && !service.spec.clusterIPs?.length) service.spec.clusterIPs = [service.spec.clusterIP];
  },
  /** A client that applies its manifest again does not know the addresses that were given. */
  prepareForUpdate: (object, old) => {
    const [now, before] = [(object as Service).spec, (old as Service).spec];
    if (now === undefined || before === undefined) return;
    dropOfFormerType(now, before);
    if (now.type === 'ExternalName') return;
    keepAddresses(now, before);
    if (before.ipFamilies !== undefined) now.ipFamilies ??= before.ipFamilies;
    if (before.ipFamilyPolicy !== undefined) now.ipFamilyPolicy ??= before.ipFamilyPolicy;
    for (const port of now.ports ?? []) {
      const same = before.ports?.find((one) => one.port === port.port && one.protocol === port.protocol);
      if (now.type !== 'ClusterIP' && same?.nodePort !== undefined) port.nodePort ??= same.nodePort;
    }
  },
  validate: (object) => {
    const { metadata, spec } = object as Service;
    const problem = dns1035Problem(metadata.name ?? '');
    const errors = problem === undefined ? [] : [invalid('metadata.name', metadata.name, problem)];
    return spec === undefined ? [...errors, required('spec')] : [...errors, ...validateSpec(spec)];
  },
  warnings: (object) => serviceWarnings(object as Service),
  validateUpdate: (object, old) => {
    const [now, before] = [(object as Service).spec, (old as Service).spec];
    if (now !== undefined && before !== undefined) {
      const errors = validateClassUpdate(now, before);
      if (errors.length > 0) return errors;
    }
    if (!before?.clusterIP || now?.type === 'ExternalName' || before.type === 'ExternalName') return [];
    return validateFamiliesUpdate(now ?? {}, before);
  },
});

/** Whoever knows of one address alone, or of none, means the same as before. */
function keepAddresses(now: ServiceSpec, before: ServiceSpec): void {
  if (!before.clusterIP) {
    if (now.clusterIP && !now.clusterIPs?.length) now.clusterIPs = [now.clusterIP];
    return;
  }
  now.clusterIP ||= before.clusterIP;
  const isSame = isDeepStrictEqual(now.clusterIPs, before.clusterIPs);
  if (now.clusterIP !== before.clusterIP && isSame) now.clusterIPs = [now.clusterIP];
  if (!now.clusterIPs?.length) now.clusterIPs = before.clusterIPs ?? [before.clusterIP];
}

function defaultSpec(spec: ServiceSpec): void {
  spec.type ??= 'ClusterIP';
  spec.sessionAffinity ??= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP')
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: 10800, ...spec.sessionAffinityConfig?.clientIP } };
  for (const port of spec.ports ?? []) {
    port.protocol ??= 'TCP';
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '') port.targetPort = port.port;
  }
  if (spec.type === 'ExternalName') return;
  spec.internalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer' || spec.type === 'NodePort') spec.externalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  if (spec.clusterIP === undefined && spec.clusterIPs?.[0] !== undefined) spec.clusterIP = spec.clusterIPs[0];
}

function validateSpec(spec: ServiceSpec): FieldError[] {
  const errors = validateLabels(spec.selector, 'spec.selector');
  if (!TYPES.includes(spec.type ?? '')) errors.push(notSupported('spec.type', spec.type, TYPES));
  if (spec.type === 'ExternalName') errors.push(...validateExternalName(spec));
  else if (errors.length === 0) errors.push(...validateFamilies(spec));
  return [...errors, ...servicePortErrors(spec), ...validateTraffic(spec)];
}

/** It has no address of its own. */
function validateExternalName(spec: ServiceSpec): FieldError[] {
  const errors = (['clusterIPs', 'ipFamilies', 'ipFamilyPolicy'] as const)
    .filter((field) => (spec[field] ?? '').length > 0)
    .map((field) => forbidden(`spec.${field}`, 'may not be set for ExternalName services'));
  // With a dot at its end it is looked up as it is.
  const name = (spec.externalName ?? '').replace(/\.$/, '');
  if (name === '') return [...errors, required('spec.externalName')];
  const problem = dnsSubdomainProblem(name);
  return problem === undefined ? errors : [...errors, invalid('spec.externalName', name, problem)];
}

function externalText(service: Service): string {
  const spec = service.spec ?? {};
  if (spec.type === 'ExternalName') return spec.externalName ?? '';
  const outside = [...(spec.externalIPs ?? [])];
  if (spec.type === 'LoadBalancer') {
    const given = (service.status?.loadBalancer?.ingress ?? []).map((one) => one.ip ?? one.hostname ?? '');
    const all = [...given, ...outside];
    return all.length === 0 ? '<pending>' : all.join(',');
  }
  return outside.length === 0 ? '<none>' : outside.join(',');
}

function portsText(service: Service): string {
  const ports = service.spec?.ports ?? [];
  if (ports.length === 0) return '<none>';
  return ports.map(({ port, nodePort, protocol }) => `${port}${nodePort ? `:${nodePort}` : ''}/${protocol}`).join(',');
}
