/** Brokers, offerings and plans in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Organization, Space } from '../../resources/types.ts';
import type { ServiceBroker, ServiceOffering, ServicePlan } from '../../resources/service-types.ts';
import type { Json, Urls } from '../api.ts';
import { isObject } from '../validate.ts';
import { base, link, metadata, toOne } from './base.ts';

export function presentBroker(urls: Urls, broker: Stored<ServiceBroker>): Json {
  const { name } = broker.metadata;
  const { space } = broker.spec;
  return {
    ...base(broker),
    name: broker.spec.displayName,
    url: broker.spec.url,
    relationships: space === undefined ? {} : { space: toOne(space) },
    metadata: metadata(broker),
    links: {
      self: link(`${urls.api}/v3/service_brokers/${name}`),
      service_offerings: link(`${urls.api}/v3/service_offerings?service_broker_guids=${name}`),
      ...(space === undefined ? {} : { space: link(`${urls.api}/v3/spaces/${space}`) }),
    },
  };
}

export function documentationUrl({ spec }: ServiceOffering): string {
  return typeof spec.metadata.documentationUrl === 'string' ? spec.metadata.documentationUrl : '';
}

export function isShareable({ spec }: ServiceOffering): boolean {
  return spec.metadata.shareable === true;
}

export function presentOffering(urls: Urls, offering: Stored<ServiceOffering>): Json {
  const { spec } = offering;
  const { name } = offering.metadata;
  return {
    ...base(offering),
    name: spec.displayName,
    description: spec.description,
    available: spec.available,
    tags: spec.tags,
    requires: spec.requires,
    shareable: isShareable(offering),
    documentation_url: documentationUrl(offering),
    broker_catalog: {
      id: spec.brokerId,
      metadata: spec.metadata,
      features: {
        plan_updateable: spec.planUpdateable,
        bindable: spec.bindable,
        instances_retrievable: spec.instancesRetrievable,
        bindings_retrievable: spec.bindingsRetrievable,
        allow_context_updates: spec.allowContextUpdates,
      },
    },
    relationships: { service_broker: toOne(spec.broker) },
    metadata: metadata(offering),
    links: {
      self: link(`${urls.api}/v3/service_offerings/${name}`),
      service_plans: link(`${urls.api}/v3/service_plans?service_offering_guids=${name}`),
      service_broker: link(`${urls.api}/v3/service_brokers/${spec.broker}`),
    },
  };
}

export interface PlanPlace {
  offering: Stored<ServiceOffering> | undefined;
  /** Of the space that it is for. */
  space: string | undefined;
  visibility: string;
}

export function presentPlan(urls: Urls, plan: Stored<ServicePlan>, place: PlanPlace): Json {
  const { spec } = plan;
  const { space, offering } = place;
  const self = `${urls.api}/v3/service_plans/${plan.metadata.name}`;
  return {
    ...base(plan),
    name: spec.displayName,
    visibility_type: place.visibility,
    available: spec.available,
    free: spec.free,
    costs: costs(spec.metadata.costs),
    description: spec.description,
    maintenance_info: spec.maintenanceInfo ?? {},
    broker_catalog: {
      id: spec.brokerId,
      metadata: spec.metadata,
      maximum_polling_duration: spec.maximumPollingSeconds ?? null,
      features: {
        bindable: spec.bindable ?? offering?.spec.bindable ?? false,
        plan_updateable: spec.planUpdateable ?? offering?.spec.planUpdateable ?? false,
      },
    },
    schemas: {
      service_instance: {
        create: { parameters: spec.schemas.createInstance ?? {} },
        update: { parameters: spec.schemas.updateInstance ?? {} },
      },
      service_binding: { create: { parameters: spec.schemas.createBinding ?? {} } },
    },
    relationships: {
      service_offering: toOne(spec.offering),
      ...(space === undefined ? {} : { space: toOne(space) }),
    },
    metadata: metadata(plan),
    links: {
      self: link(self),
      service_offering: link(`${urls.api}/v3/service_offerings/${spec.offering}`),
      visibility: link(`${self}/visibility`),
      ...(space === undefined ? {} : { space: link(`${urls.api}/v3/spaces/${space}`) }),
    },
  };
}

/** From the broker's metadata, where it has the form that it should have. */
function costs(value: unknown): Json[] {
  if (!Array.isArray(value)) return [];
  const all: Json[] = [];
  for (const cost of value as unknown[]) {
    const { amount, unit } = isObject(cost) ? cost : {};
    if (!isObject(amount) || typeof unit !== 'string' || unit === '') return [];
    for (const [currency, number] of Object.entries(amount)) {
      if (currency === '' || typeof number !== 'number') return [];
      all.push({ currency: currency.toUpperCase(), amount: number, unit });
    }
  }
  return all;
}

export function presentVisibility(
  type: string,
  of: { space: Stored<Space> | undefined; organizations: Stored<Organization>[] | undefined },
): Json {
  const named = (object: Stored<Space> | Stored<Organization>) => ({
    guid: object.metadata.name,
    name: object.spec.displayName,
  });
  return {
    type,
    ...(of.space ? { space: named(of.space) } : {}),
    ...(type === 'organization' && of.organizations ? { organizations: of.organizations.map(named) } : {}),
  };
}
