/** Service instances: those of brokers, and those that run elsewhere (user-provided). */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceInstance } from '../../resources/service-types.ts';
import { readCredentials, writeCredentials } from '../../services/credentials.ts';
import { type ApiRequest, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { fieldParameters, includedFields } from '../fields.ts';
import { listReply } from '../listing.ts';
import { createManaged, updateManaged } from '../operations/managed-instances.ts';
import { purgeInstance } from '../operations/service-purge.ts';
import {
  changeServiceInstance,
  createServiceInstance,
  deleteServiceInstance,
} from '../operations/service-instances.ts';
import { readContent } from '../operations/service-content.ts';
import { requested } from '../request-jobs.ts';
import { readInstance, requireWritesBroker, seesInstance, spacesOfInstance, writeInstance } from '../service-access.ts';
import { instanceBytes, instanceFields, instancePresenter } from '../service-fields.ts';
import { planGuid } from '../../services/context.ts';
import { SERVICE_PERMISSIONS_SCOPE } from '../../uaa/uaa.ts';
import { Reader } from '../validate.ts';

const MANAGED = ['tags', 'parameters', 'metadata'];
const PROVIDED = ['tags', 'credentials', 'syslog_drain_url', 'route_service_url', 'metadata'];
const KIND = 'service_instances';

export function serviceInstanceEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const present = instancePresenter(context);
  const bytes = instanceBytes(context);
  const fields = instanceFields(context);
  const read = (request: ApiRequest) => readInstance(context, request.identity, request.params.guid ?? '');
  const write = (request: ApiRequest) => writeInstance(context, request.identity, request.params.guid ?? '');
  return [
    {
      method: 'GET',
      path: '/v3/service_instances',
      auth: 'user',
      summary: 'List service instances.',
      handle: (request) =>
        listReply(context, request, {
          items: records.serviceInstances
            .all()
            .filter((item) => !item.metadata.deletionTimestamp && seesInstance(context, request.identity, item)),
          present: bytes,
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            type: (item, values) => values.includes(item.spec.managed ? 'managed' : 'user-provided'),
            // Those that are shared with a space are listed there too.
            space_guids: (item, values) =>
              spacesOfInstance(context, item).some(({ metadata }) => values.includes(metadata.name)),
            organization_guids: (item, values) =>
              spacesOfInstance(context, item).some(({ spec }) => values.includes(spec.organization)),
            service_plan_guids: (item, values) => values.includes(planGuid(item)),
            service_plan_names: (item, values) =>
              values.includes(records.servicePlans.get(planGuid(item))?.spec.displayName ?? ''),
          },
          orders: { name: (item) => item.spec.displayName },
          ignored: fieldParameters(fields),
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
          included: (items) => includedFields(request.query, fields, items),
        }),
    },
    {
      method: 'POST',
      path: '/v3/service_instances',
      auth: 'user',
      summary: 'Create a service instance: a job where a broker makes it.',
      handle: (request) => create(context, request),
    },
    {
      method: 'GET',
      path: '/v3/service_instances/:guid',
      auth: 'user',
      summary: 'Get a service instance.',
      handle: (request) => {
        const instance = read(request);
        const included = includedFields(request.query, fields, [instance]);
        return ok({ ...present(instance), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'GET',
      path: '/v3/service_instances/:guid/credentials',
      auth: 'user',
      summary: 'Get the credentials of a service instance that a user provides.',
      handle: async (request) => {
        const instance = read(request);
        const space = records.spaceOf(instance);
        if (!space || !access.readsSecrets(request.identity, space)) throw notAuthorized();
        return ok(instance.spec.managed ? {} : await readCredentials(context.client, instance));
      },
    },
    {
      method: 'GET',
      path: '/v3/service_instances/:guid/parameters',
      auth: 'user',
      summary: 'Ask the broker for the parameters of a service instance.',
      handle: async (request) => {
        const instance = read(request);
        const space = records.spaceOf(instance);
        if (!space || !access.readsSpace(request.identity, space)) throw notAuthorized();
        return ok(await context.services.instanceParameters(instance, request.identity.userId));
      },
    },
    {
      method: 'GET',
      path: '/v3/service_instances/:guid/permissions',
      auth: 'user',
      scope: SERVICE_PERMISSIONS_SCOPE,
      summary: 'Get what the caller may do with a service instance, for dashboards.',
      handle: (request) => ok(permissions(context, request)),
    },
    {
      method: 'PATCH',
      path: '/v3/service_instances/:guid',
      auth: 'user',
      summary: 'Change a service instance: a job where its broker takes part. What runs is told at its next start.',
      handle: (request) => {
        const instance = write(request);
        return instance.spec.managed
          ? updateManaged(context, request, instance)
          : updateProvided(context, request, instance);
      },
    },
    {
      method: 'DELETE',
      path: '/v3/service_instances/:guid',
      auth: 'user',
      summary: 'Delete a service instance with its bindings, or forget it without asking the broker.',
      handle: async (request) => {
        const instance = write(request);
        if (request.query.get('purge') === 'true') {
          const broker = records.servicePlans.get(planGuid(instance))?.spec.broker;
          if (instance.spec.managed) requireWritesBroker(context, request.identity, broker ?? '');
          await purgeInstance(context, request.identity, instance);
          return { status: 204 };
        }
        const wish = await deleteServiceInstance(context, request.identity, instance);
        return wish ? requested(context, KIND, instance.metadata.name, wish) : { status: 204 };
      },
    },
  ];
}

function permissions({ records, access }: Context, { identity, params }: ApiRequest) {
  const instance = records.serviceInstances.get(params.guid ?? '');
  const space = instance && records.spaceOf(instance);
  const cloud = { records, access };
  // Only who sees it is told that it is there.
  const found = readInstance(cloud, identity, params.guid ?? '');
  return {
    manage: space !== undefined && access.writesSpace(identity, space),
    read: seesInstance(cloud, identity, found),
  };
}

async function create(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const { type } = request.body;
  const reader = new Reader(request.body);
  if (type !== 'managed' && type !== 'user-provided') {
    reader.fail("Type must be one of 'managed', 'user-provided'");
  } else reader.only('type', 'name', 'relationships', ...(type === 'managed' ? MANAGED : PROVIDED));
  const displayName = reader.name('name', { required: true }) ?? '';
  const guid = reader.relationship('space', { required: true }) ?? '';
  const plan = type === 'managed' ? (reader.relationship('service_plan', { required: true }) ?? '') : undefined;
  const content = readContent(reader);
  reader.done();
  context.flags.require(request.identity, 'service_instance_creation');
  const space = records.spaces.get(guid);
  if (!space || !access.readsSpace(request.identity, space)) {
    throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
  }
  if (!access.writesSpace(request.identity, space)) throw notAuthorized();
  const { credentials, parameters, ...facts } = content;
  const spec = { displayName, tags: [], ...facts };
  if (plan === undefined) {
    const wanted = { space, spec, credentials: credentials ?? {} };
    return created(instancePresenter(context)(await createServiceInstance(context, request.identity, wanted)));
  }
  return createManaged(context, request.identity, { space, plan, spec, parameters });
}

async function updateProvided(
  context: Context,
  request: ApiRequest,
  instance: Stored<ServiceInstance>,
): Promise<Reply> {
  const reader = new Reader(request.body).only('name', ...PROVIDED);
  const name = reader.name();
  const { credentials, parameters: _none, ...facts } = readContent(reader, instance.spec);
  reader.done();
  const change = { ...facts, ...(name === undefined ? {} : { displayName: name }) };
  const changed = await changeServiceInstance(context, instance, change);
  if (credentials) await writeCredentials(context, { kind: 'ServiceInstance', object: changed }, credentials);
  return ok(instancePresenter(context)(changed));
}
