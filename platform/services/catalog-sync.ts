/**
 * Makes offerings and plans what a broker's catalog says. Guids are made of the broker's guid and the catalog's ids, so that
 * doing it again, also after a crash in the middle, changes nothing. What is not in the catalog any more is removed, or kept as
 * unavailable for as long as there are instances of it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { nameGuid } from '#lib/name-guid.ts';
import type { Collection } from '../cloud-controller/records.ts';
import type { ServiceBroker, ServiceOffering, ServicePlan } from '../resources/service-types.ts';
import type { CatalogPlan, CatalogService } from './catalog.ts';
import { planGuid, type ServicesContext } from './context.ts';
import { removeClients, requireFreeClients, syncClients } from './dashboard-clients.ts';
import { BrokerError } from './services.ts';

type Broker = Stored<ServiceBroker>;

/** Resolves to warnings. */
export async function syncCatalog(
  context: ServicesContext,
  broker: Broker,
  services: CatalogService[],
): Promise<string[]> {
  const { serviceOfferings, servicePlans } = context.records;
  requireFreeNames(context, broker, services);
  await requireFreeClients(context, broker, services);
  const offerings = new Set<string>();
  const plans = new Set<string>();
  for (const service of services) {
    const offering = nameGuid(`offering\n${broker.metadata.name}\n${service.id}`);
    offerings.add(offering);
    await put(context, broker, serviceOfferings, offering, offeringSpec(broker, service));
    for (const plan of service.plans) {
      const guid = nameGuid(`plan\n${offering}\n${plan.id}`);
      plans.add(guid);
      await put(context, broker, servicePlans, guid, planSpec(broker, offering, plan));
    }
  }
  await syncClients(context, broker, services);
  const kept = await retire(context, broker, plans);
  for (const offering of offeringsOf(context, broker)) {
    const guid = offering.metadata.name;
    if (offerings.has(guid)) continue;
    if (servicePlans.all().some(({ spec }) => spec.offering === guid)) {
      await put(context, broker, serviceOfferings, guid, { available: false });
    } else await remove(context, broker, serviceOfferings, offering);
  }
  return kept.length === 0 ? [] : [warning(context, broker, kept)];
}

/** With everything that is in its catalog. */
export async function removeCatalog(context: ServicesContext, broker: Broker): Promise<void> {
  const { serviceOfferings, servicePlans } = context.records;
  await removeClients(context, broker);
  for (const plan of plansOf(context, broker)) await remove(context, broker, servicePlans, plan);
  for (const offering of offeringsOf(context, broker)) await remove(context, broker, serviceOfferings, offering);
}

export function plansOf({ records }: Pick<ServicesContext, 'records'>, broker: Broker): Stored<ServicePlan>[] {
  return records.servicePlans.all().filter(({ spec }) => spec.broker === broker.metadata.name);
}

export function offeringsOf({ records }: Pick<ServicesContext, 'records'>, broker: Broker): Stored<ServiceOffering>[] {
  return records.serviceOfferings.all().filter(({ spec }) => spec.broker === broker.metadata.name);
}

/** A plan is in use by instances that have it, and by those that are to have it. */
export function isInUse({ records }: Pick<ServicesContext, 'records'>, plan: string): boolean {
  return records.serviceInstances
    .all()
    .some((instance) => planGuid(instance) === plan || instance.spec.request?.plan === plan);
}

/** An offering that is still needed keeps its name. */
function requireFreeNames(context: ServicesContext, broker: Broker, services: CatalogService[]): void {
  const taken = offeringsOf(context, broker)
    .filter(({ spec }) => services.some((service) => service.name === spec.displayName && service.id !== spec.brokerId))
    .filter(({ metadata, spec }) => {
      const isKept = !services.some((service) => service.id === spec.brokerId);
      const plans = plansOf(context, broker).filter((plan) => plan.spec.offering === metadata.name);
      return isKept && plans.some((plan) => isInUse(context, plan.metadata.name));
    })
    .map(({ spec }) => spec.displayName);
  if (taken.length === 0) return;
  throw new BrokerError(
    `Service broker catalog is invalid: \nService names must be unique within a broker. Services with names ${JSON.stringify(taken)} already exist\n`,
    { title: 'ServiceBrokerCatalogInvalid' },
  );
}

/** Plans that are not in the catalog; resolves to those that stay for their instances. */
async function retire(context: ServicesContext, broker: Broker, plans: Set<string>): Promise<Stored<ServicePlan>[]> {
  const { servicePlans } = context.records;
  const kept: Stored<ServicePlan>[] = [];
  for (const plan of plansOf(context, broker)) {
    if (plans.has(plan.metadata.name)) continue;
    if (isInUse(context, plan.metadata.name)) {
      kept.push(plan);
      await put(context, broker, servicePlans, plan.metadata.name, { available: false });
    } else await remove(context, broker, servicePlans, plan);
  }
  return kept;
}

function warning(context: ServicesContext, broker: Broker, plans: Stored<ServicePlan>[]): string {
  const names = Map.groupBy(
    plans,
    ({ spec }) => context.records.serviceOfferings.get(spec.offering)?.spec.displayName ?? '',
  );
  const lines = [...names]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([offering, list]) => {
      const deactivated = list.map(({ spec }) => spec.displayName).sort();
      return `\nService Offering: ${offering}\nPlans deactivated: ${deactivated.join(', ')}\n`;
    });
  return `Warning: Service plans are missing from the broker's catalog (${broker.spec.url}/v2/catalog) but can not be removed from Cloud Foundry while instances exist. The plans have been deactivated to prevent users from attempting to provision new instances of these plans. The broker should continue to support bind, unbind, and delete for existing instances; if these operations fail contact your broker provider.\n${lines.join('')}`;
}

function offeringSpec(broker: Broker, service: CatalogService): ServiceOffering['spec'] {
  const { id, name, plans: _plans, dashboardClient: _client, ...rest } = service;
  return { ...rest, broker: broker.metadata.name, brokerId: id, displayName: name, available: true };
}

/** Who may see a plan is the administrators' to say; to begin with nobody does, and everybody does of a broker of the platform's own. */
function planSpec(broker: Broker, offering: string, plan: CatalogPlan): ServicePlan['spec'] {
  const { id, name, ...rest } = plan;
  return {
    ...rest,
    offering,
    broker: broker.metadata.name,
    brokerId: id,
    displayName: name,
    available: true,
    visibility: broker.spec.own === true ? 'public' : 'admin',
    organizations: [],
  };
}

type Entry = ClientObject & { spec: { displayName: string } };

/** What users have set stays; a field that the catalog does not have any more goes. */
async function put<T extends Entry>(
  context: ServicesContext,
  broker: Broker,
  collection: Collection<T>,
  guid: string,
  spec: Partial<T['spec']>,
): Promise<void> {
  const current = collection.get(guid);
  if (!current) {
    const object = await collection.create({ metadata: { name: guid }, spec } as unknown as T);
    await tell(context, broker, collection, object, 'create');
    return;
  }
  const isWhole = spec.displayName !== undefined;
  const changed = (old: T['spec']): T['spec'] => {
    const { visibility, organizations, userMetadata } = old as Partial<ServicePlan['spec']>;
    const own = { visibility, organizations, userMetadata };
    const kept = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
    return isWhole ? ({ ...spec, ...kept } as T['spec']) : { ...old, ...spec };
  };
  if (isDeepStrictEqual(changed(current.spec), current.spec)) return;
  const object = await collection.modify(guid, (now) => ({ ...now, spec: changed(now.spec) }));
  await tell(context, broker, collection, object, 'update');
}

async function remove<T extends Entry>(
  context: ServicesContext,
  broker: Broker,
  collection: Collection<T>,
  object: Stored<T>,
): Promise<void> {
  await collection.delete(object.metadata.name);
  await tell(context, broker, collection, object, 'delete');
}

async function tell<T extends Entry>(
  context: ServicesContext,
  broker: Broker,
  collection: Collection<T>,
  object: Stored<T>,
  verb: string,
): Promise<void> {
  const type = collection.resource.kind === 'ServicePlan' ? 'service_plan' : 'service';
  await context.audit.record({
    type: `audit.${type}.${verb}`,
    actor: { guid: broker.metadata.name, type: 'service_broker', name: broker.spec.displayName },
    target: { guid: object.metadata.name, type, name: object.spec.displayName },
  });
}
