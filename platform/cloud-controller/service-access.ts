/** Who sees which brokers, offerings, plans and instances, and where a plan may be used. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Space } from '../resources/types.ts';
import type { ServiceBroker, ServiceInstance, ServiceOffering, ServicePlan } from '../resources/service-types.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { Context } from './api.ts';
import { notAuthorized, notFound } from './errors.ts';

type Cloud = Pick<Context, 'records' | 'access'>;

/** Of a space's broker. */
export function spaceOfBroker({ records }: Cloud, broker: string): Stored<Space> | undefined {
  return records.spaces.get(records.serviceBrokers.get(broker)?.spec.space ?? '');
}

export type VisibilityType = ServicePlan['spec']['visibility'] | 'space';

export function visibilityOf({ records }: Cloud, plan: Stored<ServicePlan>): VisibilityType {
  return records.serviceBrokers.get(plan.spec.broker)?.spec.space === undefined ? plan.spec.visibility : 'space';
}

export function seesBroker(cloud: Cloud, identity: Identity, broker: Stored<ServiceBroker>): boolean {
  if (identity.reads !== 'own') return true;
  const space = spaceOfBroker(cloud, broker.metadata.name);
  return space !== undefined && cloud.access.readsSpace(identity, space);
}

/** The broker, its offerings and its plans. @throws 403 */
export function requireWritesBroker(cloud: Cloud, identity: Identity, broker: string): void {
  const space = spaceOfBroker(cloud, broker);
  const isAllowed = space ? cloud.access.writesSpace(identity, space) : identity.admin;
  if (!isAllowed) throw notAuthorized();
}

export function seesPlan(cloud: Cloud, identity: Identity, plan: Stored<ServicePlan>): boolean {
  if (identity.reads !== 'own') return true;
  const visibility = visibilityOf(cloud, plan);
  if (visibility === 'space') {
    const space = spaceOfBroker(cloud, plan.spec.broker);
    return space !== undefined && cloud.access.readsSpace(identity, space);
  }
  if (visibility === 'public') return true;
  if (visibility === 'admin') return false;
  return plan.spec.organizations.some((organization) => cloud.access.readsOrganization(identity, organization));
}

export function seesOffering(cloud: Cloud, identity: Identity, offering: Stored<ServiceOffering>): boolean {
  if (identity.reads !== 'own') return true;
  return cloud.records.servicePlans
    .all()
    .some((plan) => plan.spec.offering === offering.metadata.name && seesPlan(cloud, identity, plan));
}

/** May there be an instance of it in this space? */
export function isOpenTo(cloud: Cloud, plan: Stored<ServicePlan>, space: Stored<Space>): boolean {
  const visibility = visibilityOf(cloud, plan);
  if (visibility === 'space') return spaceOfBroker(cloud, plan.spec.broker)?.metadata.name === space.metadata.name;
  return visibility === 'public' || plan.spec.organizations.includes(space.spec.organization);
}

export function isOpenToOrganization(cloud: Cloud, plan: Stored<ServicePlan>, organization: string): boolean {
  const visibility = visibilityOf(cloud, plan);
  if (visibility === 'space') {
    return spaceOfBroker(cloud, plan.spec.broker)?.spec.organization === organization;
  }
  return visibility === 'public' || plan.spec.organizations.includes(organization);
}

/** Its own space, and those that it is shared with. */
export function spacesOfInstance({ records }: Cloud, instance: Stored<ServiceInstance>): Stored<Space>[] {
  const own = records.spaceOf(instance);
  const shared = (instance.spec.sharedWith ?? []).map((guid) => records.spaces.get(guid));
  return [own, ...shared].filter((space) => space !== undefined);
}

export function seesInstance(cloud: Cloud, identity: Identity, instance: Stored<ServiceInstance>): boolean {
  return spacesOfInstance(cloud, instance).some((space) => cloud.access.readsSpace(identity, space));
}

/** @throws 404 */
export function readInstance(cloud: Cloud, identity: Identity, guid: string): Stored<ServiceInstance> {
  const instance = cloud.records.serviceInstances.get(guid);
  if (!instance || instance.metadata.deletionTimestamp || !seesInstance(cloud, identity, instance)) {
    throw notFound('Service instance');
  }
  return instance;
}

/** Of its own space alone: who has it by sharing changes nothing of it. @throws 404, 403 */
export function writeInstance(cloud: Cloud, identity: Identity, guid: string): Stored<ServiceInstance> {
  const instance = readInstance(cloud, identity, guid);
  const space = cloud.records.spaceOf(instance);
  if (!space || !cloud.access.writesSpace(identity, space)) throw notAuthorized();
  return instance;
}
