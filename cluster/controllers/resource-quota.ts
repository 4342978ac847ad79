/**
 * Writes what is used of each ResourceQuota into its status. It follows only the kinds that some quota counts; the API server
 * enforces quotas by itself and does not wait for this.
 */
import type { ClientObject, Informer } from '../client/client.ts';
import { formatAmount, ZERO } from '../kinds/amount.ts';
import type { ApiObject, ResourceRef, Stored } from '../kinds/kind.ts';
import { addUsage, countedKind, inScope, type Usage, usageOf } from '../kinds/quota-usage.ts';
import { resourceQuotas } from '../kinds/resources.ts';
import type { ResourceQuota } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { discoverResources } from './discover.ts';
import { keyOf, openInformer, sameJson, splitKey } from './objects.ts';

/** Changes come in bursts: one status for all of them. */
const GATHER_MILLISECONDS = 50;

export function createResourceQuotaController(): Controller {
  let quotas: Informer<ResourceQuota>;
  let enqueueNamespace: (namespace: string) => void;
  const followed = new Map<string, Promise<Informer<ClientObject> | undefined>>();

  function follow(context: ControllerContext, kind: { group: string; resource: string }) {
    const name = `${kind.resource}.${kind.group}`;
    let found = followed.get(name);
    if (found === undefined) {
      found = open(context, kind).catch((error: unknown) => {
        followed.delete(name);
        throw error;
      });
      followed.set(name, found);
    }
    return found;
  }

  async function open(context: ControllerContext, { group, resource }: { group: string; resource: string }) {
    const served = await discoverResources(context.client);
    const ref: ResourceRef | undefined = served.find((one) => one.group === group && one.resource === resource);
    if (ref?.namespaced !== true) return undefined;
    const informer = openInformer<ClientObject>(context, ref);
    informer.onChange((now, old) => enqueueNamespace((now ?? old)?.metadata.namespace ?? ''));
    await informer.synced;
    return informer;
  }

  return {
    name: 'resourcequota',
    async start(context, enqueue) {
      quotas = openInformer(context, resourceQuotas, { namespace: ({ metadata }) => [metadata.namespace ?? ''] });
      enqueueNamespace = (namespace) => {
        for (const { metadata } of quotas.byIndex('namespace', namespace))
          enqueue(keyOf(metadata), GATHER_MILLISECONDS);
      };
      quotas.onChange((now) => {
        if (now) enqueue(keyOf(now.metadata));
      });
      await quotas.synced;
      for (const { metadata } of quotas.list()) enqueue(keyOf(metadata));
    },
    keys: () => quotas.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, context) {
      const { namespace, name } = splitKey(key);
      const quota = quotas.get(name, namespace);
      if (!quota || quota.metadata.deletionTimestamp !== undefined) return;
      const hard = quota.spec?.hard ?? {};
      const total: Usage = new Map();
      const kinds = Map.groupBy(Object.keys(hard), (counted) => JSON.stringify(countedKind(counted)));
      for (const [text, names] of kinds) {
        const kind = JSON.parse(text) as { group: string; resource: string };
        const informer = await follow(context, kind);
        for (const object of informer?.list({ namespace }) ?? []) addCounted(total, quota, kind, object, names);
      }
      const used = Object.fromEntries(
        Object.keys(hard).map((counted) => [counted, formatAmount(total.get(counted) ?? ZERO)]),
      );
      if (sameJson(quota.status, { hard, used })) return;
      await context.client.updateStatus(resourceQuotas, { ...quota, status: { hard, used } });
    },
  };
}

function addCounted(
  total: Usage,
  quota: ResourceQuota,
  kind: { group: string; resource: string },
  object: Stored<ClientObject>,
  names: readonly string[],
): void {
  if (!inScope(quota, kind.resource, object as ApiObject)) return;
  const usage = usageOf(kind, object as ApiObject);
  addUsage(total, new Map([...usage].filter(([name]) => names.includes(name))));
}
