/** What the controllers of this room share, and how they find what belongs together. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Context } from '../cloud-controller/api.ts';
import type { Organization, Space, UserMetadata } from '../resources/types.ts';
import type {
  BrokerRequest,
  ServiceBroker,
  ServiceInstance,
  ServiceOffering,
  ServicePlan,
} from '../resources/service-types.ts';
import { BrokerClient, type InstanceIds } from './client.ts';
import type { Json } from './json.ts';
import { brokerSecret, readLogin } from './secrets.ts';
import { BrokerError } from './services.ts';
import type { Transport } from './transport.ts';

export interface ServicesContext
  extends Pick<Context, 'client' | 'records' | 'reservations' | 'audit' | 'log' | 'now'> {
  transport: Transport;
  signal: AbortSignal;
}

export interface PlanChain {
  plan: Stored<ServicePlan>;
  offering: Stored<ServiceOffering>;
  broker: Stored<ServiceBroker>;
}

export interface Place {
  space: Stored<Space>;
  organization: Stored<Organization>;
}

/** What the instance has, whatever an update asks for. */
export function planGuid(instance: ServiceInstance): string {
  return instance.status?.plan ?? instance.spec.managed?.plan ?? '';
}

export function maintenanceVersion(instance: ServiceInstance): string | undefined {
  return instance.status?.maintenanceVersion ?? instance.spec.managed?.maintenanceVersion;
}

/** Undefined where something of it is gone, or was not seen yet: `findChain` tells. */
export function chainOf({ records }: Pick<Context, 'records'>, plan: string): PlanChain | undefined {
  const found = records.servicePlans.get(plan);
  const offering = found && records.serviceOfferings.get(found.spec.offering);
  const broker = found && records.serviceBrokers.get(found.spec.broker);
  return found && offering && broker ? { plan: found, offering, broker } : undefined;
}

/** As `chainOf`, and sees what was written a moment ago. */
export async function findChain({ records }: Pick<Context, 'records'>, plan: string): Promise<PlanChain | undefined> {
  const found = await records.servicePlans.find(plan);
  if (found) {
    await records.serviceOfferings.find(found.spec.offering);
    await records.serviceBrokers.find(found.spec.broker);
  }
  return chainOf({ records }, plan);
}

/** @throws BrokerError where the broker is not known any more */
export function requireChain(context: Pick<Context, 'records'>, plan: string): PlanChain {
  const chain = chainOf(context, plan);
  if (chain) return chain;
  throw new BrokerError('The service broker is not known any more: purge the service instance', {
    title: 'ServiceBrokerNotFound',
  });
}

/** @throws BrokerError */
export function requirePlace({ records }: Pick<Context, 'records'>, instance: Stored<ServiceInstance>): Place {
  const space = records.spaceOf(instance);
  const organization = space && records.organizations.get(space.spec.organization);
  if (space && organization) return { space, organization };
  throw new BrokerError('The space of the service instance is not there any more', { title: 'ResourceNotFound' });
}

export function instanceIds(instance: string, { plan, offering }: PlanChain): InstanceIds {
  return { instance, serviceId: offering.spec.brokerId, planId: plan.spec.brokerId };
}

/** Told to brokers as Cloud Foundry tells it. */
export function contextOf({ space, organization }: Place): Json {
  return {
    platform: 'cloudfoundry',
    organization_guid: organization.metadata.name,
    space_guid: space.metadata.name,
    organization_name: organization.spec.displayName,
    space_name: space.spec.displayName,
    organization_annotations: publicAnnotations(organization.spec.userMetadata),
    space_annotations: publicAnnotations(space.spec.userMetadata),
  };
}

/** Those with a prefix: the others are the users' own. */
export function publicAnnotations(metadata: UserMetadata | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata?.annotations ?? {}).filter(([key]) => key.includes('/')));
}

/** A client with the broker's login; of whoever asked, where it is somebody's wish. */
export async function clientOf(
  context: Pick<ServicesContext, 'client' | 'transport' | 'signal'>,
  broker: Stored<ServiceBroker>,
  request?: Pick<BrokerRequest, 'by'>,
): Promise<BrokerClient> {
  const login = await readLogin(context.client, brokerSecret(broker.metadata.name));
  return new BrokerClient({
    transport: context.transport,
    access: { url: broker.spec.url, ...login },
    signal: context.signal,
    ...(request ? { by: request.by.guid } : {}),
  });
}
