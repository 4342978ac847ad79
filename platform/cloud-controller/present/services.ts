/** Service instances and bindings in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import {
  type BrokerOperation,
  type BrokerRequest,
  routeServiceUrlOf,
  type ServiceBinding,
  type ServiceInstance,
  type ServicePlan,
} from '../../resources/service-types.ts';
import { maintenanceVersion, planGuid } from '../../services/context.ts';
import type { Json, Urls } from '../api.ts';
import { base, link, metadata, time, toOne } from './base.ts';

interface WithOperation {
  metadata: Stored<ServiceInstance>['metadata'];
  spec: { request?: BrokerRequest };
  status?: { operation?: BrokerOperation };
}

/** What runs elsewhere takes no time: it was made at once. */
export function lastOperation(object: WithOperation): Json {
  const { request } = object.spec;
  const known = object.status?.operation;
  if (!request) {
    const { created_at, updated_at } = base(object as Stored<ServiceInstance>);
    const type = created_at === updated_at ? 'create' : 'update';
    return { type, state: 'succeeded', description: 'Operation succeeded', created_at, updated_at };
  }
  const operation = known?.request === request.id ? known : undefined;
  const state = operation?.state ?? 'in progress';
  return {
    type: request.type,
    // Before the broker was asked, as Cloud Foundry says of creations.
    state: operation === undefined && request.type === 'create' ? 'initial' : state,
    description: operation?.description ?? '',
    created_at: time(request.at),
    updated_at: time(operation?.updatedAt ?? request.at),
  };
}

export function presentServiceInstance(
  urls: Urls,
  instance: Stored<ServiceInstance>,
  of: { space: string; plan: Stored<ServicePlan> | undefined },
): Json {
  const { name } = instance.metadata;
  const { managed } = instance.spec;
  const self = `${urls.api}/v3/service_instances/${name}`;
  const plan = planGuid(instance);
  return {
    ...base(instance),
    name: instance.spec.displayName,
    tags: instance.spec.tags,
    last_operation: lastOperation(instance),
    ...(managed ? managedFacts(instance, of.plan) : providedFacts(instance)),
    relationships: { space: toOne(of.space), ...(managed ? { service_plan: toOne(plan) } : {}) },
    metadata: metadata(instance),
    links: {
      self: link(self),
      space: link(`${urls.api}/v3/spaces/${of.space}`),
      service_credential_bindings: link(`${urls.api}/v3/service_credential_bindings?service_instance_guids=${name}`),
      service_route_bindings: link(`${urls.api}/v3/service_route_bindings?service_instance_guids=${name}`),
      ...(managed
        ? {
            service_plan: link(`${urls.api}/v3/service_plans/${plan}`),
            parameters: link(`${self}/parameters`),
            shared_spaces: link(`${self}/relationships/shared_spaces`),
          }
        : { credentials: link(`${self}/credentials`) }),
    },
  };
}

function managedFacts(instance: Stored<ServiceInstance>, plan: Stored<ServicePlan> | undefined): Json {
  const version = maintenanceVersion(instance);
  return {
    type: 'managed',
    maintenance_info: version === undefined ? {} : { version },
    upgrade_available: version !== plan?.spec.maintenanceInfo?.version,
    dashboard_url: instance.status?.dashboardUrl ?? null,
    ...(instance.status?.brokerMetadata ? { broker_provided_metadata: instance.status.brokerMetadata } : {}),
  };
}

function providedFacts({ spec }: Stored<ServiceInstance>): Json {
  return {
    type: 'user-provided',
    syslog_drain_url: spec.syslogDrainUrl ?? null,
    route_service_url: spec.routeServiceUrl || null,
  };
}

export function presentServiceBinding(urls: Urls, binding: Stored<ServiceBinding>): Json {
  const self = `${urls.api}/v3/service_credential_bindings/${binding.metadata.name}`;
  const { app, instance } = binding.spec;
  return {
    ...base(binding),
    name: binding.spec.displayName ?? null,
    type: app === undefined ? 'key' : 'app',
    last_operation: lastOperation(binding),
    relationships: { ...(app === undefined ? {} : { app: toOne(app) }), service_instance: toOne(instance) },
    metadata: metadata(binding),
    links: {
      self: link(self),
      details: link(`${self}/details`),
      ...(binding.spec.request ? { parameters: link(`${self}/parameters`) } : {}),
      ...(app === undefined ? {} : { app: link(`${urls.api}/v3/apps/${app}`) }),
      service_instance: link(`${urls.api}/v3/service_instances/${instance}`),
    },
  };
}

export function presentRouteBinding(
  urls: Urls,
  binding: Stored<ServiceBinding>,
  instance: Stored<ServiceInstance> | undefined,
): Json {
  const self = `${urls.api}/v3/service_route_bindings/${binding.metadata.name}`;
  const { route = '', instance: guid } = binding.spec;
  return {
    ...base(binding),
    route_service_url: routeServiceUrlOf(binding, instance) ?? null,
    last_operation: lastOperation(binding),
    relationships: { service_instance: toOne(guid), route: toOne(route) },
    metadata: metadata(binding),
    links: {
      self: link(self),
      service_instance: link(`${urls.api}/v3/service_instances/${guid}`),
      route: link(`${urls.api}/v3/routes/${route}`),
      ...(binding.spec.request ? { parameters: link(`${self}/parameters`) } : {}),
    },
  };
}
