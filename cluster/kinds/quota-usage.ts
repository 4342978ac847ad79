/** What an object counts against a ResourceQuota (Kubernetes "Resource Quotas"), and which quotas it counts against. */
import { type Amount, count, greaterOf, parseAmount, plus, ZERO } from './amount.ts';
import type { ApiObject } from './kind.ts';
import type { Container, PersistentVolumeClaim, Pod, ResourceQuota, Service } from './types/core.ts';

/** By the names of a quota's `hard`. */
export type Usage = Map<string, Amount>;

const ONE = count(1);
/** Kinds that are counted under their own name too. */
const OWN_NAMES = new Set([
  'configmaps',
  'secrets',
  'replicationcontrollers',
  'resourcequotas',
  'services',
  'persistentvolumeclaims',
]);
const COMPUTE = ['cpu', 'memory', 'ephemeral-storage'];
/** Of these a pod under a quota must say how much it wants. */
const DEMANDED = new Set(['cpu', 'memory', 'requests.cpu', 'requests.memory', 'limits.cpu', 'limits.memory']);

export function usageOf({ group, resource }: { group: string; resource: string }, object: ApiObject): Usage {
  const usage: Usage = new Map([[`count/${resource}${group === '' ? '' : `.${group}`}`, ONE]]);
  if (group !== '') return usage;
  if (OWN_NAMES.has(resource)) usage.set(resource, ONE);
  if (resource === 'pods') addPod(usage, object as Pod);
  else if (resource === 'services') addService(usage, object as Service);
  else if (resource === 'persistentvolumeclaims') addClaim(usage, object as PersistentVolumeClaim);
  return usage;
}

/** Which kinds a name of `hard` counts: `resource` and `group`. */
export function countedKind(name: string): { group: string; resource: string } {
  if (name.startsWith('count/')) {
    const [resource = '', ...group] = name.slice('count/'.length).split('.');
    return { group: group.join('.'), resource };
  }
  if (name.startsWith('services.')) return { group: '', resource: 'services' };
  if (name === 'requests.storage' || name.includes('.storageclass.storage.k8s.io/'))
    return { group: '', resource: 'persistentvolumeclaims' };
  return { group: '', resource: OWN_NAMES.has(name) ? name : 'pods' };
}

export function addUsage(total: Usage, more: Usage): void {
  for (const [name, amount] of more) total.set(name, plus(total.get(name) ?? ZERO, amount));
}

/** Does the object count against the quota at all? Scopes choose among pods; all else has none. */
export function inScope(quota: ResourceQuota, resource: string, object: ApiObject): boolean {
  const { scopes = [], scopeSelector } = quota.spec ?? {};
  const requirements = [
    ...scopes.map((scopeName) => ({ scopeName, operator: 'Exists', values: [] as string[] })),
    ...(scopeSelector?.matchExpressions ?? []),
  ];
  if (requirements.length === 0) return true;
  if (resource !== 'pods') return false;
  return requirements.every(({ scopeName, operator, values = [] }) =>
    matchesScope(object as Pod, scopeName, operator, values),
  );
}

function matchesScope({ spec }: Pod, scope: string, operator: string, values: string[]): boolean {
  switch (scope) {
    case 'Terminating':
      return spec?.activeDeadlineSeconds !== undefined && spec.activeDeadlineSeconds >= 0;
    case 'NotTerminating':
      return spec?.activeDeadlineSeconds === undefined;
    case 'BestEffort':
      return isBestEffort(spec?.containers ?? [], spec?.initContainers ?? []);
    case 'NotBestEffort':
      return !isBestEffort(spec?.containers ?? [], spec?.initContainers ?? []);
    case 'CrossNamespacePodAffinity':
      return usesOtherNamespaces(spec?.affinity);
    case 'PriorityClass': {
      const name = spec?.priorityClassName ?? '';
      if (operator === 'Exists') return name !== '';
      if (operator === 'DoesNotExist') return name === '';
      return values.includes(name) === (operator === 'In');
    }
    default:
      return false;
  }
}

function isBestEffort(...lists: Container[][]): boolean {
  return lists
    .flat()
    .every(({ resources }) =>
      ['cpu', 'memory'].every(
        (name) =>
          parseAmount(resources?.requests?.[name] ?? '0').nano === 0n &&
          parseAmount(resources?.limits?.[name] ?? '0').nano === 0n,
      ),
    );
}

function usesOtherNamespaces(affinity: NonNullable<Pod['spec']>['affinity']): boolean {
  return [affinity?.podAffinity, affinity?.podAntiAffinity].some((one) =>
    [
      ...(one?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
      ...(one?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ podAffinityTerm }) => podAffinityTerm),
    ].some(({ namespaces, namespaceSelector }) => (namespaces ?? []).length > 0 || namespaceSelector !== undefined),
  );
}

/** One that has ended uses nothing but its place in the list. */
function addPod(usage: Usage, pod: Pod): void {
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return;
  usage.set('pods', ONE);
  const { spec } = pod;
  if (spec === undefined) return;
  for (const kind of ['requests', 'limits'] as const)
    for (const [name, amount] of resourcesOf(spec.containers, spec.initContainers ?? [], kind)) {
      const total = plus(amount, parseAmount((kind === 'requests' && spec.overhead?.[name]) || '0'));
      for (const counted of countedAs(kind, name)) usage.set(counted, total);
    }
}

function countedAs(kind: 'requests' | 'limits', name: string): string[] {
  if (kind === 'limits') return COMPUTE.includes(name) ? [`limits.${name}`] : [];
  if (COMPUTE.includes(name)) return [name, `requests.${name}`];
  if (name.startsWith('hugepages-')) return [name, `requests.${name}`];
  return name.includes('/') ? [`requests.${name}`] : [];
}

/** Init containers run before the others, one by one, but for those that stay. */
function resourcesOf(containers: Container[], inits: Container[], kind: 'requests' | 'limits'): Map<string, Amount> {
  const names = new Set([...containers, ...inits].flatMap(({ resources }) => Object.keys(resources?.[kind] ?? {})));
  const totals = new Map<string, Amount>();
  for (const name of names) {
    const of = ({ resources }: Container) => parseAmount(resources?.[kind]?.[name] ?? '0');
    let [staying, most] = [ZERO, ZERO];
    for (const init of inits) {
      most = greaterOf(most, plus(staying, of(init)));
      if (init.restartPolicy === 'Always') staying = plus(staying, of(init));
    }
    const running = containers.reduce((sum, container) => plus(sum, of(container)), staying);
    totals.set(name, greaterOf(running, most));
  }
  return totals;
}

/** What of the demanded a container does not say: by the resource, the containers' names. */
export function unspecified(pod: Pod, names: readonly string[]): Map<string, string[]> {
  const missing = new Map<string, string[]>();
  const { spec } = pod;
  const wanted = names.filter((name) => DEMANDED.has(name));
  for (const container of [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])])
    for (const name of wanted) {
      const [, kind = 'requests', resource = name] = /^(requests|limits)\.(.+)$/.exec(name) ?? [];
      if (container.resources?.[kind as 'requests' | 'limits']?.[resource] !== undefined) continue;
      missing.set(name, [...(missing.get(name) ?? []), container.name].sort());
    }
  return missing;
}

function addService(usage: Usage, { spec }: Service): void {
  const ports = spec?.ports ?? [];
  if (spec?.type === 'NodePort') usage.set('services.nodeports', count(ports.length));
  if (spec?.type !== 'LoadBalancer') return;
  usage.set('services.loadbalancers', ONE);
  if (spec.allocateLoadBalancerNodePorts !== false) usage.set('services.nodeports', count(ports.length));
}

function addClaim(usage: Usage, { spec }: PersistentVolumeClaim): void {
  const storage = parseAmount(spec?.resources?.requests?.['storage'] ?? '0');
  usage.set('requests.storage', storage);
  if (!spec?.storageClassName) return;
  const of = `${spec.storageClassName}.storageclass.storage.k8s.io/`;
  usage.set(`${of}persistentvolumeclaims`, ONE);
  usage.set(`${of}requests.storage`, storage);
}
