/** Gives containers the resources that a LimitRange says by default, and holds pods and claims to its bounds. */
import { formatAmount, greaterOf, parseAmount, plus, ZERO, type Amount } from '../../kinds/amount.ts';
import { limitRanges, pods } from '../../kinds/resources.ts';
import type { Container, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec } from '../../kinds/types/core.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { all } from './lookup.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

const ANNOTATION = 'kubernetes.io/limit-ranger';
const CLAIMS = { group: '', resource: 'persistentvolumeclaims' };

type Quantities = Record<string, string>;
interface Resources {
  requests: Quantities;
  limits: Quantities;
}

export function limitRanger(core: Core): AdmissionPlugin {
  const itemsOf = ({ namespace }: AdmissionRequest) => all(core, limitRanges, namespace);
  return {
    name: 'LimitRanger',
    mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, pods)) return;
      for (const range of itemsOf(request))
        for (const item of range.spec?.limits ?? [])
          if (item.type === 'Container') setDefaults(request.object as Pod, item);
    },
    validate(request) {
      const claim = isKind(request, CLAIMS) && request.operation !== 'DELETE';
      if (!claim && !(isKind(request, pods) && request.operation === 'CREATE')) return;
      const errors = itemsOf(request).flatMap((range) =>
        (range.spec?.limits ?? []).flatMap((item) =>
          claim ? claimErrors(request.object as PersistentVolumeClaim, item) : podErrors(request.object as Pod, item),
        ),
      );
      if (errors.length === 0) return;
      throw forbidden(request.kind, request.name, errors.length === 1 ? (errors[0] ?? '') : `[${errors.join(', ')}]`);
    },
  };
}

function setDefaults(pod: Pod, item: LimitRangeItem): void {
  const { spec } = pod;
  if (spec === undefined) return;
  const notes: string[] = [];
  const set = (container: Container, what: string) => {
    container.resources ??= {};
    for (const [kind, defaults] of [
      ['requests', item.defaultRequest],
      ['limits', item.default],
    ] as const) {
      const missing = Object.keys(defaults ?? {}).filter((name) => container.resources?.[kind]?.[name] === undefined);
      if (missing.length === 0) continue;
      const values = Object.fromEntries(missing.map((name) => [name, defaults?.[name] ?? '0']));
      container.resources[kind] = { ...values, ...container.resources[kind] };
      notes.push(`${missing.sort().join(', ')} ${kind.slice(0, -1)} for ${what} ${container.name}`);
    }
  };
  for (const container of spec.containers ?? []) set(container, 'container');
  for (const container of spec.initContainers ?? []) set(container, 'init container');
  if (notes.length === 0) return;
  pod.metadata.annotations = {
    ...pod.metadata.annotations,
    [ANNOTATION]: `LimitRanger plugin set: ${notes.join('; ')}`,
  };
}

function podErrors({ spec }: Pod, item: LimitRangeItem): string[] {
  if (spec === undefined) return [];
  if (item.type === 'Container')
    return [...(spec.containers ?? []), ...(spec.initContainers ?? [])].flatMap((container) =>
      boundErrors(item, resourcesOf(container)),
    );
  return item.type === 'Pod' ? boundErrors(item, podResources(spec)) : [];
}

function claimErrors(claim: PersistentVolumeClaim, item: LimitRangeItem): string[] {
  if (item.type !== 'PersistentVolumeClaim') return [];
  const requests = claim.spec?.resources?.requests ?? {};
  const errors: string[] = [];
  for (const [name, bound] of sorted(item.min))
    errors.push(...minimum(item.type, name, bound, { requests, limits: {} }));
  // A claim has no limits: its request is held to the maximum.
  for (const [name, bound] of sorted(item.max))
    errors.push(...maximum(item.type, name, bound, { requests, limits: requests }));
  return errors;
}

function resourcesOf({ resources }: Container): Resources {
  return { requests: resources?.requests ?? {}, limits: resources?.limits ?? {} };
}

/** Containers together, or the greatest init container; only what each of them says. */
function podResources(spec: PodSpec): Resources {
  const total = (kind: 'requests' | 'limits'): Quantities => {
    const lists = (spec.containers ?? []).map(({ resources }) => resources?.[kind] ?? {});
    const inits = (spec.initContainers ?? []).map(({ resources }) => resources?.[kind] ?? {});
    const names = new Set([...lists, ...inits].flatMap((list) => Object.keys(list)));
    const found: Quantities = {};
    for (const name of names) {
      if (!lists.every((list) => list[name] !== undefined)) continue;
      const sum = lists.reduce<Amount>((all, list) => plus(all, parseAmount(list[name] ?? '0')), ZERO);
      found[name] = formatAmount(inits.reduce((most, list) => greaterOf(most, parseAmount(list[name] ?? '0')), sum));
    }
    return found;
  };
  return { requests: total('requests'), limits: total('limits') };
}

function boundErrors(item: LimitRangeItem, resources: Resources): string[] {
  return [
    ...sorted(item.min).flatMap(([name, bound]) => minimum(item.type, name, bound, resources)),
    ...sorted(item.max).flatMap(([name, bound]) => maximum(item.type, name, bound, resources)),
    ...sorted(item.maxLimitRequestRatio).flatMap(([name, bound]) => ratio(item.type, name, bound, resources)),
  ];
}

function sorted(bounds: Quantities | undefined): [string, string][] {
  return Object.entries(bounds ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
}

function minimum(type: string, name: string, bound: string, { requests, limits }: Resources): string[] {
  const [request, limit, least] = [requests[name], limits[name], parseAmount(bound).nano];
  const subject = `minimum ${name} usage per ${type} is ${bound}`;
  if (request === undefined) return [`${subject}.  No request is specified`];
  if (parseAmount(request).nano < least) return [`${subject}, but request is ${request}`];
  return limit !== undefined && parseAmount(limit).nano < least ? [`${subject}, but limit is ${limit}`] : [];
}

function maximum(type: string, name: string, bound: string, { requests, limits }: Resources): string[] {
  const [request, limit, most] = [requests[name], limits[name], parseAmount(bound).nano];
  const subject = `maximum ${name} usage per ${type} is ${bound}`;
  if (limit === undefined) return [`${subject}.  No limit is specified`];
  if (parseAmount(limit).nano > most)
    return [`${subject}, but ${limits === requests ? 'request' : 'limit'} is ${limit}`];
  return request !== undefined && parseAmount(request).nano > most ? [`${subject}, but request is ${request}`] : [];
}

function ratio(type: string, name: string, bound: string, { requests, limits }: Resources): string[] {
  const [request, limit] = [parseAmount(requests[name] ?? '0').nano, parseAmount(limits[name] ?? '0').nano];
  const subject = `${name} max limit to request ratio per ${type} is ${bound}`;
  if (request === 0n) return [`${subject}, but no request is specified or request is 0`];
  if (limit === 0n) return [`${subject}, but no limit is specified or limit is 0`];
  const found = Number(limit) / Number(request);
  return found * 1e9 > Number(parseAmount(bound).nano) ? [`${subject}, but provided ratio is ${found.toFixed(6)}`] : [];
}
