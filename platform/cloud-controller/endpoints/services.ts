/** Services that run elsewhere (user-provided instances), and what apps they are bound to. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, ServiceBinding, ServiceInstance } from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { unique } from '../includes.ts';
import { listReply } from '../listing.ts';
import { record } from '../operations/app-lifecycle.ts';
import {
  bindService,
  createServiceInstance,
  deleteServiceInstance,
  renameServiceInstance,
} from '../operations/service-instances.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { readCredentials, writeCredentials } from '../operations/services.ts';
import { presentApp } from '../present/apps.ts';
import { presentServiceBinding, presentServiceInstance } from '../present/services.ts';
import { mergeMetadata, Reader } from '../validate.ts';

const MAX_CREDENTIALS = 64 * 1024;
/** What clients ask of the plans of services from brokers: a service that runs elsewhere has none. */
const PLAN_FIELDS = [
  'fields[service_plan]',
  'fields[service_plan.service_offering]',
  'fields[service_plan.service_offering.service_broker]',
  'fields[space]',
  'fields[space.organization]',
];

export function serviceEndpoints(context: Context): Endpoint[] {
  return [...instanceEndpoints(context), ...bindingEndpoints(context)];
}

function instanceEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const spaceOf = (instance: Stored<ServiceInstance>) => records.spaceOf(instance)?.metadata.name ?? '';
  const present = (instance: Stored<ServiceInstance>) => presentServiceInstance(urls, instance, spaceOf(instance));
  const find = (request: ApiRequest, how: 'read' | 'write' | 'readSecrets') =>
    access[how](request.identity, records.serviceInstances, request.params.guid ?? '', 'Service instance');
  return [
    {
      method: 'GET',
      path: '/v3/service_instances',
      auth: 'user',
      summary: 'List service instances.',
      partial: 'those that users provide',
      handle: (request) =>
        listReply(context, request, {
          items: access.visible(request.identity, records.serviceInstances.all()),
          present,
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            type: (_item, values) => values.includes('user-provided'),
            space_guids: (item, values) => values.includes(spaceOf(item)),
            organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
            service_plan_guids: () => false,
            service_plan_names: () => false,
          },
          orders: { name: (item) => item.spec.displayName },
          ignored: PLAN_FIELDS,
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/service_instances',
      auth: 'user',
      summary: 'Create a service instance.',
      partial: 'one that the user provides',
      handle: async (request) => {
        const reader = new Reader(request.body).only('type', 'name', 'relationships', ...CONTENT);
        const type = reader.string('type');
        if (type !== 'user-provided') reader.fail("Type must be 'user-provided': there are no service brokers yet");
        const displayName = reader.name('name', { required: true }) ?? '';
        const guid = reader.relationship('space', { required: true }) ?? '';
        const { credentials, ...content } = readContent(reader);
        reader.done();
        const space = records.spaces.get(guid);
        if (!space || !access.readsSpace(request.identity, space)) {
          throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
        }
        if (!access.writesSpace(request.identity, space)) throw notAuthorized();
        context.flags.require(request.identity, 'service_instance_creation');
        const spec = { displayName, tags: [], ...content };
        const wanted = { space, spec, credentials: credentials ?? {} };
        return created(present(await createServiceInstance(context, request.identity, wanted)));
      },
    },
    {
      method: 'GET',
      path: '/v3/service_instances/:guid',
      auth: 'user',
      summary: 'Get a service instance.',
      handle: (request) => ok(present(find(request, 'read'))),
    },
    {
      method: 'GET',
      path: '/v3/service_instances/:guid/credentials',
      auth: 'user',
      summary: 'Get the credentials of a service instance that a user provides.',
      handle: async (request) => ok(await readCredentials(context, find(request, 'readSecrets'))),
    },
    {
      method: 'PATCH',
      path: '/v3/service_instances/:guid',
      auth: 'user',
      summary: 'Change a service instance; what runs is told at its next start.',
      handle: async (request) => {
        const instance = find(request, 'write');
        const reader = new Reader(request.body).only('name', ...CONTENT);
        const name = reader.name();
        const { credentials, ...content } = readContent(reader, instance.spec);
        reader.done();
        await renameServiceInstance(context, instance, name);
        const changed = await records.serviceInstances.modify(instance.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, ...content, displayName: name ?? current.spec.displayName },
        }));
        if (credentials) await writeCredentials(context, changed, credentials);
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/service_instances/:guid',
      auth: 'user',
      summary: 'Delete a service instance with its bindings.',
      handle: async (request) => {
        await deleteServiceInstance(context, request.identity, find(request, 'write'));
        return { status: 204 };
      },
    },
  ];
}

const CONTENT = ['tags', 'credentials', 'syslog_drain_url', 'route_service_url', 'metadata'];

function readContent(reader: Reader, current?: ServiceInstance['spec']) {
  const tags = reader.strings('tags');
  if (tags?.some((tag) => tag.length > 2048)) reader.fail('Tags must be at most 2048 characters each');
  const credentials = reader.object('credentials')?.body;
  if (credentials && Buffer.byteLength(JSON.stringify(credentials)) > MAX_CREDENTIALS) {
    reader.fail(`Credentials must be at most ${MAX_CREDENTIALS / 1024} KiB`);
  }
  const syslogDrainUrl = readUrl(reader, 'syslog_drain_url', ['syslog:', 'syslog-tls:', 'https:']);
  const routeServiceUrl = readUrl(reader, 'route_service_url', ['https:']);
  const metadata = reader.metadata();
  return {
    ...(tags === undefined ? {} : { tags }),
    ...(credentials === undefined ? {} : { credentials: credentials as Json }),
    ...(syslogDrainUrl === undefined ? {} : { syslogDrainUrl }),
    ...(routeServiceUrl === undefined ? {} : { routeServiceUrl }),
    userMetadata: mergeMetadata(current?.userMetadata, metadata),
  };
}

function readUrl(reader: Reader, field: string, protocols: string[]): string | undefined {
  const value = reader.nullableString(field) ?? '';
  if (value === '') return undefined;
  const url = URL.parse(value);
  if (url && protocols.includes(url.protocol)) return value;
  reader.fail(`${field.replaceAll('_', ' ')} must begin with one of ${protocols.map((one) => `${one}//`).join(', ')}`);
  return undefined;
}

function bindingEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (binding: Stored<ServiceBinding>) => presentServiceBinding(urls, binding);
  const find = (request: ApiRequest, how: 'read' | 'write' | 'operate' | 'readSecrets') =>
    access[how](request.identity, records.serviceBindings, request.params.guid ?? '', 'Service credential binding');
  const appOf = (binding: Stored<ServiceBinding>) => records.apps.get(binding.spec.app);
  const instanceOf = (binding: Stored<ServiceBinding>) => records.serviceInstances.get(binding.spec.instance);
  const spaceOf = (object: Stored<App> | Stored<ServiceInstance>) => records.spaceOf(object)?.metadata.name ?? '';
  return [
    {
      method: 'GET',
      path: '/v3/service_credential_bindings',
      auth: 'user',
      summary: 'List which apps are bound to which services.',
      partial: 'there are no keys',
      handle: (request) =>
        listReply(context, request, {
          items: access.visible(request.identity, records.serviceBindings.all()),
          present,
          filters: {
            type: (_item, values) => values.includes('app'),
            names: (item, values) => values.includes(item.spec.displayName ?? ''),
            app_guids: (item, values) => values.includes(item.spec.app),
            app_names: (item, values) => values.includes(appOf(item)?.spec.displayName ?? ''),
            service_instance_guids: (item, values) => values.includes(item.spec.instance),
            service_instance_names: (item, values) => values.includes(instanceOf(item)?.spec.displayName ?? ''),
            service_plan_guids: () => false,
            service_plan_names: () => false,
            service_offering_guids: () => false,
            service_offering_names: () => false,
          },
          includes: {
            app: (items) => ({
              apps: unique<App>(items.map(appOf)).map((app) => presentApp(urls, app, spaceOf(app))),
            }),
            service_instance: (items) => ({
              service_instances: unique<ServiceInstance>(items.map(instanceOf)).map((instance) =>
                presentServiceInstance(urls, instance, spaceOf(instance)),
              ),
            }),
          },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/service_credential_bindings',
      auth: 'user',
      summary: 'Bind an app to a service: it is told in `VCAP_SERVICES` from its next start on.',
      partial: 'there are no keys',
      handle: async (request) => created(present(await postBinding(context, request))),
    },
    {
      method: 'GET',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: 'Get a binding.',
      handle: (request) => ok(present(find(request, 'read'))),
    },
    {
      method: 'GET',
      path: '/v3/service_credential_bindings/:guid/details',
      auth: 'user',
      summary: 'Get what a bound app is told.',
      handle: async (request) => {
        const instance = instanceOf(find(request, 'readSecrets'));
        return ok({
          credentials: instance ? await readCredentials(context, instance) : {},
          syslog_drain_url: instance?.spec.syslogDrainUrl ?? null,
          volume_mounts: [],
        });
      },
    },
    {
      method: 'PATCH',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: "Change a binding's metadata.",
      handle: async (request) => {
        const binding = find(request, 'write');
        const changed = await changeMetadata(records.serviceBindings, binding, request.body);
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: 'Unbind an app from a service; it is told at its next start.',
      handle: async (request) => {
        const binding = find(request, 'operate');
        await records.serviceBindings.delete(binding.metadata.name);
        const app = appOf(binding);
        if (app) await record(context, request.identity, app, 'audit.service_binding.delete', guidsOf(binding));
        return { status: 204 };
      },
    },
  ];
}

function guidsOf(binding: Stored<ServiceBinding>): Record<string, unknown> {
  return { service_binding_guid: binding.metadata.name, service_instance_guid: binding.spec.instance };
}

async function postBinding(context: Context, request: ApiRequest): Promise<Stored<ServiceBinding>> {
  const { records, access } = context;
  const reader = new Reader(request.body).only('type', 'name', 'relationships', 'parameters', 'metadata');
  if (reader.string('type') !== 'app')
    reader.fail("Type must be 'app': there are no keys of services that run elsewhere");
  const displayName = typeof request.body['name'] === 'string' ? reader.name() : undefined;
  const appGuid = reader.relationship('app', { required: true }) ?? '';
  const instanceGuid = reader.relationship('service_instance', { required: true }) ?? '';
  if (Object.keys(reader.object('parameters')?.body ?? {}).length > 0) {
    reader.fail('Binding parameters are not supported for user-provided service instances');
  }
  const metadata = reader.metadata();
  reader.done();
  const app = records.apps.get(appGuid);
  const instance = records.serviceInstances.get(instanceGuid);
  const space = app && records.spaceOf(app);
  if (!app || !space || !access.readsSpace(request.identity, space)) {
    throw unprocessable(`The app could not be found: '${appGuid.slice(0, 60)}'`);
  }
  if (!instance || records.spaceOf(instance)?.metadata.name !== space.metadata.name) {
    throw unprocessable(`The service instance could not be found: '${instanceGuid.slice(0, 60)}'`);
  }
  if (!access.operatesSpace(request.identity, space)) throw notAuthorized();
  const binding = await bindService(context, app, instance, {
    ...(displayName === undefined ? {} : { displayName }),
    userMetadata: mergeMetadata(undefined, metadata),
  });
  await record(context, request.identity, app, 'audit.service_binding.create', guidsOf(binding));
  return binding;
}
