/** From Ingresses to what they claim of the router: a pure function of what the informers show. */
import { createHash } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { HTTPIngressPath, Ingress, IngressBackend, IngressClass } from '#cluster/kinds/types/networking.ts';
import type { Claim } from '../claims.ts';
import type { Backend, Endpoint, Route } from '../model.ts';
import { isUsable } from '../validate.ts';
import { certificatesOf } from './certificates.ts';
import {
  CONTROLLER,
  DEFAULT_ANNOTATION,
  type IngressRoutes,
  type IngressSources,
  OLD_CLASS_ANNOTATION,
  type ProblemReason,
} from './ingress.ts';
import { endpointsOf, findPort, protocolOf } from './service-endpoints.ts';

const ANY_HOST = '*';

export function routesOfIngresses(sources: IngressSources): IngressRoutes {
  const ours = oursOf(sources.ingresses, sources.classes).toSorted((a, b) => (ageOf(a) < ageOf(b) ? -1 : 1));
  const result: IngressRoutes = { ours, claims: [], certificates: [], problems: [], services: new Set() };
  for (const ingress of ours) result.claims.push(...claimsOf(ingress, sources, result));
  result.certificates = certificatesOf(ours, sources, result.problems);
  return result;
}

function oursOf(ingresses: readonly Stored<Ingress>[], classes: readonly Stored<IngressClass>[]): Stored<Ingress>[] {
  const own = classes.filter(({ spec }) => spec?.controller === CONTROLLER);
  const names = new Set<string | undefined>(own.map(({ metadata }) => metadata.name));
  const isDefault = own.some(({ metadata }) => metadata.annotations?.[DEFAULT_ANNOTATION] === 'true');
  return ingresses.filter(({ metadata, spec }) => {
    const named = spec?.ingressClassName ?? metadata.annotations?.[OLD_CLASS_ANNOTATION];
    return metadata.deletionTimestamp === undefined && (named === undefined ? isDefault : names.has(named));
  });
}

export function ageOf({ metadata }: Stored<Ingress>): string {
  return `${metadata.creationTimestamp ?? ''} ${nameOf(metadata)}`;
}

function nameOf({ namespace, name }: Stored<Ingress>['metadata']): string {
  return `${namespace}/${name}`;
}

type Place = Pick<Route, 'host' | 'path' | 'exact'>;

function claimsOf(ingress: Stored<Ingress>, sources: IngressSources, result: IngressRoutes): Claim[] {
  const { metadata, spec } = ingress;
  const namespace = metadata.namespace ?? '';
  const told = new Set<string>();
  const tell = (reason: ProblemReason, message: string): void => {
    if (told.has(message)) return;
    told.add(message);
    result.problems.push({ ingress, reason, message });
  };
  const claim = (place: Place, to: IngressBackend, more: Partial<Claim> = {}): Claim => {
    const backend = backendOf(namespace, to, sources, (message) => tell('InvalidBackend', message));
    if (to.service !== undefined) result.services.add(`${namespace}/${to.service.name}`);
    return {
      age: ageOf(ingress),
      holder: `the Ingress ${nameOf(metadata)}`,
      route: { ...place, backend: backend.name, id: metadata.uid },
      backend: () => backend,
      refuse: (reason) => tell('Rejected', `${place.host}${place.path} is not served: ${reason}`),
      ...more,
    };
  };
  const rules = (spec?.rules ?? []).flatMap(({ host, http }) =>
    (http?.paths ?? []).map((path) => claim(placeOf(host, path), path.backend)),
  );
  const to = spec?.defaultBackend;
  if (to === undefined) return rules;
  // Whatever says so by a rule comes before: `~` is after every year.
  const age = `~${ageOf(ingress)}`;
  const hosts = new Set((spec?.rules ?? []).map(({ host }) => hostOf(host)).filter((host) => host !== ANY_HOST));
  const own = [...hosts].map((host) => claim({ host, path: '/' }, to, { age, refuse: () => undefined }));
  return [...rules, ...own, claim({ host: ANY_HOST, path: '/' }, to, { age })];
}

function hostOf(host: string | undefined): string {
  return host?.toLowerCase() || ANY_HOST;
}

function placeOf(host: string | undefined, { path = '', pathType }: HTTPIngressPath): Place {
  // As clients send it.
  const sent = path.replace(/[^A-Za-z0-9._~%!$&'()*+,;=:@/-]/gu, encodeURIComponent) || '/';
  if (pathType === 'Exact') return { host: hostOf(host), path: sent, exact: true };
  return { host: hostOf(host), path: sent.replace(/\/+$/, '') || '/' };
}

function backendOf(
  namespace: string,
  to: IngressBackend,
  sources: IngressSources,
  wrong: (message: string) => void,
): Backend {
  const name = `i-${createHash('sha256')
    .update(JSON.stringify([namespace, to]))
    .digest('hex')
    .slice(0, 32)}`;
  const nobody: Backend = { name, endpoints: [] };
  if (to.service === undefined) {
    wrong(`the backend ${to.resource?.kind} ${to.resource?.name} is not served: only Services are`);
    return nobody;
  }
  const service = sources.service(namespace, to.service.name);
  const port = findPort(service, to.service.name, to.service.port ?? {});
  if (service === undefined || typeof port === 'string') {
    wrong(String(port));
    return nobody;
  }
  const endpoints = endpointsOf(service, port, sources.slices(namespace, to.service.name));
  const protocol = protocolOf(port);
  return { name, endpoints: unique(endpoints.filter(isUsable)).map((endpoint) => ({ ...endpoint, protocol })) };
}

/** Slices may say one endpoint twice while they change. */
function unique(endpoints: readonly Endpoint[]): Endpoint[] {
  return [...new Map(endpoints.toReversed().map((endpoint) => [endpoint.name, endpoint])).values()].toReversed();
}
