/** Service instances as the API shows them, and what of plan, offering, broker, space and organization is shown beside them. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Organization, Space } from '../resources/types.ts';
import type { ServiceBroker, ServiceInstance, ServiceOffering, ServicePlan } from '../resources/service-types.ts';
import { planGuid } from '../services/context.ts';
import type { Context, Json } from './api.ts';
import type { Field } from './fields.ts';
import { organizationsOf, unique } from './includes.ts';
import { presentBroker, presentOffering } from './present/service-catalog.ts';
import { presentServiceInstance } from './present/services.ts';
import { presentOrganization, presentSpace } from './present/tenancy.ts';
import { toOne } from './present/base.ts';
import { presented } from './presented.ts';

type Instance = Stored<ServiceInstance>;

export function instancePresenter({ records, urls }: Context): (instance: Instance) => Json {
  return (instance) =>
    presentServiceInstance(urls, instance, {
      space: records.spaceOf(instance)?.metadata.name ?? '',
      plan: records.servicePlans.get(planGuid(instance)),
    });
}

/** The same for lists. */
export function instanceBytes(context: Context): (instance: Instance) => Buffer {
  const { servicePlans } = context.records;
  return presented<ServiceInstance>(instancePresenter(context), (instance) => [servicePlans.get(planGuid(instance))]);
}

export function spaceFields<T>(
  { urls }: Context,
  spacesOf: (items: T[]) => Stored<Space>[],
  organizationsIn: (spaces: Stored<Space>[]) => Stored<Organization>[],
): Record<string, Field<T>> {
  return {
    space: {
      allowed: ['guid', 'name', 'relationships.organization'],
      into: 'spaces',
      of: (items) => spacesOf(items).map((space) => presentSpace(urls, space)),
    },
    'space.organization': {
      allowed: ['guid', 'name'],
      into: 'organizations',
      of: (items) => organizationsIn(spacesOf(items)).map((item) => presentOrganization(urls, item)),
    },
  };
}

export function instanceFields(context: Context): Record<string, Field<Instance>> {
  const { records, urls } = context;
  const plans = (items: Instance[]) =>
    unique<ServicePlan>(items.map((item) => records.servicePlans.get(planGuid(item))));
  const offerings = (items: Instance[]) =>
    unique<ServiceOffering>(plans(items).map(({ spec }) => records.serviceOfferings.get(spec.offering)));
  const brokers = (items: Instance[]) =>
    unique<ServiceBroker>(plans(items).map(({ spec }) => records.serviceBrokers.get(spec.broker)));
  const spaces = (items: Instance[]) => unique<Space>(items.map((item) => records.spaceOf(item)));
  return {
    ...spaceFields<Instance>(context, spaces, (all) => organizationsOf(context, all)),
    service_plan: {
      allowed: ['guid', 'name', 'relationships.service_offering'],
      into: 'service_plans',
      of: (items) =>
        plans(items).map(({ metadata, spec }) => ({
          guid: metadata.name,
          name: spec.displayName,
          relationships: { service_offering: toOne(spec.offering) },
        })),
    },
    'service_plan.service_offering': {
      allowed: ['guid', 'name', 'description', 'documentation_url', 'tags', 'relationships.service_broker'],
      into: 'service_offerings',
      of: (items) => offerings(items).map((item) => presentOffering(urls, item)),
    },
    'service_plan.service_offering.service_broker': {
      allowed: ['guid', 'name'],
      into: 'service_brokers',
      of: (items) => brokers(items).map((item) => presentBroker(urls, item)),
    },
  };
}
