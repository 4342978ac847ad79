/** Service credential bindings: of apps, and keys. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { bindingKind, type ServiceBinding } from '../../resources/service-types.ts';
import { chainOf, planGuid } from '../../services/context.ts';
import { isBound, isUnderWay } from '../../services/operations.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { CloudFoundryError, notAuthorized, notFound, unprocessable } from '../errors.ts';
import { named } from '../includes.ts';
import { includedOf, listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { bindService, createKey, unbindService } from '../operations/service-bindings.ts';
import { readParameters } from '../operations/service-content.ts';
import { bindingDetails } from '../operations/services.ts';
import { presentApp } from '../present/apps.ts';
import { presentServiceBinding } from '../present/services.ts';
import { presented } from '../presented.ts';
import { requested } from '../request-jobs.ts';
import { seesInstance } from '../service-access.ts';
import { instancePresenter } from '../service-fields.ts';
import { mergeMetadata, Reader } from '../validate.ts';

type Binding = Stored<ServiceBinding>;
const KIND = 'service_credential_bindings';

export function serviceBindingEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (binding: Binding) => presentServiceBinding(urls, binding);
  const bytes = presented(present);
  const find = (request: ApiRequest, how: 'read' | 'write' | 'operate' | 'readSecrets') => {
    const what = 'Service credential binding';
    const binding = access[how](request.identity, records.serviceBindings, request.params.guid ?? '', what);
    if (bindingKind(binding) === 'route') throw notFound(what);
    return binding;
  };
  const includes = bindingIncludes(context);
  return [
    {
      method: 'GET',
      path: '/v3/service_credential_bindings',
      auth: 'user',
      summary: 'List which apps are bound to which services, and keys.',
      handle: (request) =>
        listReply(context, request, {
          items: access
            .visible(request.identity, records.serviceBindings.all())
            .filter((binding) => bindingKind(binding) !== 'route'),
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
    {
      method: 'GET',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: 'Get a binding.',
      handle: (request) => {
        const binding = find(request, 'read');
        const included = includedOf(request.query.get('include'), [binding], { includes });
        return ok({ ...present(binding), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'GET',
      path: '/v3/service_credential_bindings/:guid/details',
      auth: 'user',
      summary: 'Get what a bound app is told, or a key.',
      handle: async (request) => {
        const binding = find(request, 'readSecrets');
        requireBound(binding);
        return ok(await bindingDetails(context, binding));
      },
    },
    {
      method: 'GET',
      path: '/v3/service_credential_bindings/:guid/parameters',
      auth: 'user',
      summary: 'Ask the broker for the parameters of a binding.',
      handle: async (request) => {
        const binding = find(request, 'read');
        requireBound(binding);
        return ok(await context.services.bindingParameters(binding, request.identity.userId));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/service_credential_bindings/:guid',
      auth: 'user',
      summary: "Change a binding's metadata.",
      handle: async (request) => {
        const binding = find(request, 'write');
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
        const binding = find(request, isKey ? 'write' : 'operate');
        return unbind(context, request, binding, KIND);
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

function bindingIncludes(context: Context): Record<string, (items: Binding[]) => Json> {
  const { records, urls } = context;
  return {
    app: (items) => ({
      apps: named(
        records.apps,
        items.map(({ spec }) => spec.app ?? ''),
      ).map((app) => presentApp(urls, app, records.spaceOf(app)?.metadata.name ?? '')),
    }),
    service_instance: (items) => ({
      service_instances: named(
        records.serviceInstances,
        items.map(({ spec }) => spec.instance),
      ).map(instancePresenter(context)),
    }),
  };
}

const WORDS = { app: 'service binding', key: 'service key', route: 'route binding' };

export function requireBound(binding: Binding): void {
  if (isBound(binding)) return;
  const { request } = binding.spec;
  const what = request?.type === 'delete' ? 'Deletion' : 'Creation';
  const state = isUnderWay(binding) ? 'in progress' : (binding.status?.operation?.state ?? 'in progress');
  throw new CloudFoundryError('ResourceNotFound', `${what} of ${WORDS[bindingKind(binding)]} ${state}`);
}

/** Metadata alone, as long as it is not going. */
export function refuseWhileGoing(binding: Binding): void {
  if (binding.spec.request?.type === 'delete' && isUnderWay(binding)) {
    throw unprocessable(`The ${WORDS[bindingKind(binding)]} is being deleted`);
  }
}

export async function unbind(
  context: Context,
  { identity }: ApiRequest,
  binding: Binding,
  kind: 'service_credential_bindings' | 'service_route_bindings',
): Promise<Reply> {
  const instance = context.records.serviceInstances.get(binding.spec.instance);
  if (instance && isUnderWay(instance)) {
    throw unprocessable('There is an operation in progress for the service instance.');
  }
  const wish = await unbindService(context, identity, binding);
  return wish ? requested(context, kind, binding.metadata.name, wish) : { status: 204 };
}

async function create(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const { identity } = request;
  const reader = new Reader(request.body).only('type', 'name', 'relationships', 'parameters', 'metadata');
  const { type } = request.body;
  if (type !== 'app' && type !== 'key') reader.fail("Type must be one of 'app', 'key'");
  const isKey = type === 'key';
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
  if (!instance.spec.managed && Object.keys(parameters ?? {}).length > 0) {
    throw unprocessable('Binding parameters are not supported for user-provided service instances');
  }
  const wanted = { parameters, userMetadata };
  if (isKey) {
    const space = records.spaceOf(instance);
    if (!space || !access.writesSpace(identity, space)) throw notAuthorized();
    const key = await createKey(context, identity, instance, { ...wanted, displayName: displayName ?? '' });
    return answer(context, key);
  }
  const app = records.apps.get(appGuid);
  const space = app && records.spaceOf(app);
  if (!app || !space || !access.readsSpace(identity, space)) {
    throw unprocessable(`The app could not be found: '${appGuid.slice(0, 60)}'`);
  }
  if (!access.operatesSpace(identity, space)) throw notAuthorized();
  return answer(context, await bindService(context, identity, { app, instance }, { ...wanted, displayName }));
}

function answer(context: Context, binding: Binding): Reply {
  const { request } = binding.spec;
  if (request) return requested(context, KIND, binding.metadata.name, request);
  return created(presentServiceBinding(context.urls, binding));
}
