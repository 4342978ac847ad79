/**
 * Refuses what would exceed a ResourceQuota. What is used is counted from the watch cache, with what other requests are
 * about to write: however many come at once, together they stay within the quota.
 */
import { formatAmount, parseAmount, plus, ZERO } from '../../kinds/amount.ts';
import type { KindDefinition, ApiObject } from '../../kinds/kind.ts';
import { addUsage, inScope, type Usage, unspecified, usageOf } from '../../kinds/quota-usage.ts';
import { resourceQuotas } from '../../kinds/resources.ts';
import type { Pod, ResourceQuota } from '../../kinds/types/core.ts';
import { type CachedObject, kindPrefix, objectKey } from '../cache.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { all, read } from './lookup.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';

/** Written soon, or not at all. */
interface Pending {
  key: string;
  /** Of the object before it; once the cache shows another, it counts by itself. */
  revision: number;
  object: ApiObject;
  usage: Usage;
}

export function resourceQuota(core: Core): AdmissionPlugin {
  const pending = new Map<string, Set<Pending>>();
  return {
    name: 'ResourceQuota',
    validate(request) {
      if (request.namespace === '' || request.subresource !== '' || request.operation === 'DELETE') return;
      const quotas = all(core, resourceQuotas, request.namespace);
      if (quotas.length === 0) return;
      const { kind, namespace, object, old } = request;
      const usage = usageOf(kind, object);
      const key = objectKey(kind, namespace, request.name);
      const before = old === undefined ? new Map() : usageOf(kind, old);
      const mine: Pending = { key, revision: revisionOf(core, kind, key), object, usage: difference(usage, before) };
      const group = `${kindPrefix(kind)}${namespace}`;
      const others = pending.get(group) ?? new Set();
      for (const quota of quotas) check(core, request, quota, mine, others);
      if (request.dryRun) return;
      pending.set(group, others.add(mine));
      return () => {
        others.delete(mine);
        if (others.size === 0) pending.delete(group);
      };
    },
  };
}

function check(core: Core, request: AdmissionRequest, quota: ResourceQuota, mine: Pending, others: Set<Pending>): void {
  const { kind, object, operation } = request;
  const hard = new Map(Object.entries(quota.spec?.hard ?? {}));
  if (!inScope(quota, kind.resource, object)) return;
  const name = quota.metadata.name ?? '';
  if (kind.resource === 'pods' && kind.group === '' && operation === 'CREATE') {
    const missing = unspecified(object as Pod, [...hard.keys()]);
    const texts = [...missing]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, who]) => `${what} for: ${who.join(',')}`);
    if (texts.length > 0)
      throw forbidden(kind, request.name, `failed quota: ${name}: must specify ${texts.join('; ')}`);
  }
  const wanted = [...mine.usage].filter(([what, { nano }]) => nano > 0n && hard.has(what));
  if (wanted.length === 0) return;
  const used = usedOf(core, quota, kind, request.namespace, others);
  const exceeded = wanted.filter(
    ([what, amount]) => (used.get(what)?.nano ?? 0n) + amount.nano > parseAmount(hard.get(what) ?? '0').nano,
  );
  if (exceeded.length === 0) return;
  const names = exceeded.map(([what]) => what).sort();
  const list = (textOf: (what: string) => string) => names.map((what) => `${what}=${textOf(what)}`).join(',');
  throw forbidden(
    kind,
    request.name,
    `exceeded quota: ${name}, requested: ${list((what) => formatAmount(mine.usage.get(what) ?? ZERO))}, used: ${list((what) => formatAmount(used.get(what) ?? ZERO))}, limited: ${list((what) => formatAmount(parseAmount(hard.get(what) ?? '0')))}`,
  );
}

function usedOf(
  core: Core,
  quota: ResourceQuota,
  kind: KindDefinition,
  namespace: string,
  others: Set<Pending>,
): Usage {
  const used: Usage = new Map();
  for (const object of core.cache.resource(kindPrefix(kind)).list(namespace))
    if (inScope(quota, kind.resource, read<ApiObject>(object))) addUsage(used, cachedUsage(kind, object));
  for (const { key, revision, object, usage } of others)
    if (revisionOf(core, kind, key) === revision && inScope(quota, kind.resource, object)) addUsage(used, usage);
  return used;
}

const usages = new WeakMap<CachedObject, Usage>();

function cachedUsage(kind: KindDefinition, object: CachedObject): Usage {
  let usage = usages.get(object);
  if (usage === undefined) {
    usage = usageOf(kind, read<ApiObject>(object));
    usages.set(object, usage);
  }
  return usage;
}

function revisionOf(core: Core, kind: KindDefinition, key: string): number {
  return core.cache.resource(kindPrefix(kind)).objects.get(key)?.revision ?? 0;
}

function difference(now: Usage, before: Usage): Usage {
  const found: Usage = new Map(now);
  for (const [name, { nano, binary }] of before)
    found.set(name, plus(found.get(name) ?? ZERO, { nano: -nano, binary }));
  return found;
}
