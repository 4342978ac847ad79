/** Service instances and bindings in Cloud Foundry's JSON. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceBinding, ServiceInstance } from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import { base, link, metadata, toOne } from './base.ts';

/** Nothing here takes its time: what there is was made at once. */
function lastOperation(object: Stored<ClientObject>): Json {
  const { created_at, updated_at } = base(object);
  const type = created_at === updated_at ? 'create' : 'update';
  return { type, state: 'succeeded', description: 'Operation succeeded', created_at, updated_at };
}

export function presentServiceInstance(urls: Urls, instance: Stored<ServiceInstance>, space: string): Json {
  const { name } = instance.metadata;
  const self = `${urls.api}/v3/service_instances/${name}`;
  return {
    ...base(instance),
    name: instance.spec.displayName,
    type: 'user-provided',
    tags: instance.spec.tags,
    syslog_drain_url: instance.spec.syslogDrainUrl ?? null,
    route_service_url: instance.spec.routeServiceUrl ?? null,
    last_operation: lastOperation(instance),
    relationships: { space: toOne(space) },
    metadata: metadata(instance),
    links: {
      self: link(self),
      space: link(`${urls.api}/v3/spaces/${space}`),
      credentials: link(`${self}/credentials`),
      service_credential_bindings: link(`${urls.api}/v3/service_credential_bindings?service_instance_guids=${name}`),
      service_route_bindings: link(`${urls.api}/v3/service_route_bindings?service_instance_guids=${name}`),
    },
  };
}

export function presentServiceBinding(urls: Urls, binding: Stored<ServiceBinding>): Json {
  const self = `${urls.api}/v3/service_credential_bindings/${binding.metadata.name}`;
  const { app, instance } = binding.spec;
  return {
    ...base(binding),
    name: binding.spec.displayName ?? null,
    type: 'app',
    last_operation: lastOperation(binding),
    relationships: { app: toOne(app), service_instance: toOne(instance) },
    metadata: metadata(binding),
    links: {
      self: link(self),
      details: link(`${self}/details`),
      app: link(`${urls.api}/v3/apps/${app}`),
      service_instance: link(`${urls.api}/v3/service_instances/${instance}`),
    },
  };
}
