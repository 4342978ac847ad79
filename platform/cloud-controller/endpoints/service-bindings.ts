/** Service credential bindings: of apps, and keys. */
import { chainOf, planGuid } from '../../services/context.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { named } from '../includes.ts';
import { listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { bindService, createKey } from '../operations/service-bindings.ts';
import { readParameters } from '../operations/service-content.ts';
import { bindingDetails } from '../operations/services.ts';
import { presentApp } from '../present/apps.ts';
import { presentServiceBinding } from '../present/services.ts';
import { presented } from '../presented.ts';
import { seesInstance } from '../service-access.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import {
  answer,
  type Binding,
  type BindingResource,
  findBinding,
  gettingEndpoint,
  type Includes,
  instanceIncludes,
  parametersEndpoint,
  refuseParameters,
  refuseWhileGoing,
  requireBound,
  unbind,
  visibleBindings,
} from './bindings.ts';

const RESOURCE: BindingResource = {
  path: 'service_credential_bindings',
  what: 'Service credential binding',
  noun: 'binding',
};

export function serviceBindingEndpoints(context: Context): Endpoint[] {
  const { records } = context;
  const present = presenter(context);
  const bytes = presented(present);
  const includes = bindingIncludes(context);
  return [
    {
      method: 'GET',
      path: '/v3/service_credential_bindings',
      auth: 'user',
      summary: 'List which apps are bound to which services, and keys.',
      handle: (request) =>
        listReply(context, request, {
          items: visibleBindings(context, RESOURCE, request),
          present: bytes,
          filters: bindingFilters(context),
          orders: { name: ({ spec }) => spec.displayName ?? '' },
          includes,
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/service_credential_bindings',
      auth: 'user',
      summary: 'Bind an app to a service, or make a key: a job where a broker gives the credentials.',
      handle: (request) => create(context, request),
    },
    gettingEndpoint(context, RESOURCE, { present, includes }),
    {
      method: 'GET',
      path: '/v3/service_credential_bindings/:guid/details',
      auth: 'user',
      summary: 'Get what a bound app is told, or a key.',
      handle: async (request) => {
        const binding = findBinding(context, RESOURCE, request, 'readSecrets');
        requireBound(binding);
        return ok(await bindingDetails(context, binding));
      },
    },
    parametersEndpoint(context, RESOURCE),
    {
      method: 'PATCH',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: "Change a binding's metadata.",
      handle: async (request) => {
        const binding = findBinding(context, RESOURCE, request, 'write');
        refuseWhileGoing(binding);
        return ok(present(await changeMetadata(records.serviceBindings, binding, request.body)));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: 'Unbind an app, which is told at its next start, or delete a key: a job where a broker takes part.',
      handle: async (request) => {
        const isKey = records.serviceBindings.get(request.params.guid ?? '')?.spec.app === undefined;
        const binding = findBinding(context, RESOURCE, request, isKey ? 'write' : 'operate');
        return unbind(context, RESOURCE, request, binding);
      },
    },
  ];
}

function bindingFilters({ records }: Context): Record<string, (item: Binding, values: string[]) => boolean> {
  const appOf = ({ spec }: Binding) => records.apps.get(spec.app ?? '');
  const instanceOf = ({ spec }: Binding) => records.serviceInstances.get(spec.instance);
  const chain = (binding: Binding) => {
    const instance = instanceOf(binding);
    return instance && chainOf({ records }, planGuid(instance));
  };
  return {
    type: ({ spec }, values) => values.includes(spec.app === undefined ? 'key' : 'app'),
    names: ({ spec }, values) => values.includes(spec.displayName ?? ''),
    app_guids: ({ spec }, values) => values.includes(spec.app ?? ''),
    app_names: (item, values) => values.includes(appOf(item)?.spec.displayName ?? ''),
    service_instance_guids: ({ spec }, values) => values.includes(spec.instance),
    service_instance_names: (item, values) => values.includes(instanceOf(item)?.spec.displayName ?? ''),
    service_plan_guids: (item, values) => values.includes(chain(item)?.plan.metadata.name ?? ''),
    service_plan_names: (item, values) => values.includes(chain(item)?.plan.spec.displayName ?? ''),
    service_offering_guids: (item, values) => values.includes(chain(item)?.offering.metadata.name ?? ''),
    service_offering_names: (item, values) => values.includes(chain(item)?.offering.spec.displayName ?? ''),
  };
}

function bindingIncludes(context: Context): Includes {
  const { records, urls } = context;
  return {
    app: (items) => ({
      apps: named(
        records.apps,
        items.map(({ spec }) => spec.app ?? ''),
      ).map((app) => presentApp(urls, app, records.spaceOf(app)?.metadata.name ?? '')),
    }),
    ...instanceIncludes(context),
  };
}

function presenter({ urls }: Context): (binding: Binding) => Json {
  return (binding) => presentServiceBinding(urls, binding);
}

async function create(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const { identity } = request;
  const reader = new Reader(request.body).only('type', 'name', 'relationships', 'parameters', 'metadata', 'strategy');
  const { type, strategy = 'single' } = request.body;
  if (type !== 'app' && type !== 'key') reader.fail("Type must be one of 'app', 'key'");
  const isKey = type === 'key';
  if (strategy !== 'single' && (strategy !== 'multiple' || isKey)) {
    reader.fail(isKey ? "Strategy must be 'single' for keys" : "Strategy must be 'single' or 'multiple'");
  }
  const named = isKey || (request.body['name'] !== undefined && request.body['name'] !== null);
  const displayName = named ? reader.name('name', { required: isKey }) : undefined;
  const appGuid = isKey ? '' : (reader.relationship('app', { required: true }) ?? '');
  const instanceGuid = reader.relationship('service_instance', { required: true }) ?? '';
  const parameters = readParameters(reader);
  const userMetadata = mergeMetadata(undefined, reader.metadata());
  reader.done();
  const instance = records.serviceInstances.get(instanceGuid);
  if (!instance || !seesInstance(context, identity, instance)) {
    throw unprocessable(`The service instance could not be found: '${instanceGuid.slice(0, 60)}'`);
  }
  refuseParameters(instance, parameters);
  const wanted = { parameters, userMetadata };
  if (isKey) {
    const space = records.spaceOf(instance);
    if (!space || !access.writesSpace(identity, space)) throw notAuthorized();
    const key = await createKey(context, identity, instance, { ...wanted, displayName: displayName ?? '' });
    return answer(context, RESOURCE, key, presenter(context));
  }
  const app = records.apps.get(appGuid);
  const space = app && records.spaceOf(app);
  if (!app || !space || !access.readsSpace(identity, space)) {
    throw unprocessable(`The app could not be found: '${appGuid.slice(0, 60)}'`);
  }
  if (!access.operatesSpace(identity, space)) throw notAuthorized();
  const binding = await bindService(
    context,
    identity,
    { app, instance },
    { ...wanted, displayName, isOneOfSeveral: strategy === 'multiple' },
  );
  return answer(context, RESOURCE, binding, presenter(context));
}
