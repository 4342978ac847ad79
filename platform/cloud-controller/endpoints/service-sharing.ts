/** Service instances in other spaces than their own: apps there may be bound to them, and nobody there changes them. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceInstance } from '../../resources/service-types.ts';
import type { Space } from '../../resources/types.ts';
import { chainOf, planGuid } from '../../services/context.ts';
import { isUnderWay } from '../../services/operations.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { CloudFoundryError, unprocessable } from '../errors.ts';
import { includedFields } from '../fields.ts';
import { organizationsOf } from '../includes.ts';
import { isCreateFailed } from '../operations/service-instances.ts';
import { unbindAll } from '../operations/service-bindings.ts';
import { link } from '../present/base.ts';
import { toMany } from '../present/quotas.ts';
import { isShareable } from '../present/service-catalog.ts';
import { isOpenTo, readInstance, spacesOfInstance, writeInstance } from '../service-access.ts';
import { spaceFields } from '../service-fields.ts';
import { Reader, readGuids } from '../validate.ts';

type Instance = Stored<ServiceInstance>;
const PATH = '/v3/service_instances/:guid/relationships/shared_spaces';

export function serviceSharingEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const read = (request: ApiRequest) => readInstance(context, request.identity, request.params.guid ?? '');
  const write = (request: ApiRequest) => writeInstance(context, request.identity, request.params.guid ?? '');
  const shared = (instance: Instance) => spacesOfInstance(context, instance).slice(1);
  const linkOf = (instance: Instance) =>
    `${urls.api}/v3/service_instances/${instance.metadata.name}/relationships/shared_spaces`;
  const present = (instance: Instance): Json => ({
    ...toMany(shared(instance).map(({ metadata }) => metadata.name)),
    links: { self: link(linkOf(instance)) },
  });
  const fields = spaceFields<Instance>(
    context,
    (items) => items.flatMap(shared),
    (spaces) => organizationsOf(context, spaces),
  );
  return [
    {
      method: 'GET',
      path: PATH,
      auth: 'user',
      summary: 'List the spaces that a service instance is shared with.',
      handle: (request) => {
        const instance = read(request);
        const included = includedFields(request.query, fields, [instance]);
        return ok({ ...present(instance), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'GET',
      path: `${PATH}/usage_summary`,
      auth: 'user',
      summary: 'Get how many apps of the spaces that it is shared with are bound to a service instance.',
      handle: (request) => {
        const instance = read(request);
        const bound = (space: Stored<Space>) =>
          records.serviceBindings
            .inNamespace(space.spec.namespace)
            .filter(({ spec }) => spec.instance === instance.metadata.name).length;
        return ok({
          usage_summary: shared(instance).map((space) => ({
            space: { guid: space.metadata.name },
            bound_app_count: bound(space),
          })),
          links: {
            self: link(`${linkOf(instance)}/usage_summary`),
            shared_spaces: link(linkOf(instance)),
            service_instance: link(`${urls.api}/v3/service_instances/${instance.metadata.name}`),
          },
        });
      },
    },
    {
      method: 'POST',
      path: PATH,
      auth: 'user',
      summary: 'Share a service instance with other spaces.',
      handle: async (request) => {
        if (!context.flags.isOn('service_instance_sharing')) {
          throw new CloudFoundryError('FeatureDisabled', 'Feature Disabled: service_instance_sharing');
        }
        const instance = write(request);
        const reader = new Reader(request.body).only('data');
        const guids = readGuids(reader, { data: request.body['data'] });
        reader.done();
        const spaces = targets(context, request, instance, guids);
        requireSharing(context, instance, spaces);
        const changed = await records.serviceInstances.modify(instance.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, sharedWith: [...new Set([...(current.spec.sharedWith ?? []), ...guids])] },
        }));
        await tell(context, request, changed, 'share', { target_space_guids: guids });
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: `${PATH}/:space`,
      auth: 'user',
      summary: 'Share a service instance with a space no more: bindings there are taken away.',
      handle: async (request) => {
        const instance = write(request);
        const guid = request.params.space ?? '';
        const space = records.spaces.get(guid);
        if (!space) {
          throw unprocessable(
            `Unable to unshare service instance from space ${guid.slice(0, 60)}. Ensure the space exists.`,
          );
        }
        await unbindIn(context, request, instance, space);
        const changed = await records.serviceInstances.modify(instance.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, sharedWith: (current.spec.sharedWith ?? []).filter((one) => one !== guid) },
        }));
        await tell(context, request, changed, 'unshare', { target_space_guid: guid });
        return { status: 204 };
      },
    },
  ];
}

function targets(context: Context, { identity }: ApiRequest, instance: Instance, guids: string[]): Stored<Space>[] {
  const { records, access } = context;
  const found = guids.map((guid) => ({ guid, space: records.spaces.get(guid) }));
  const refused = (why: string, which: typeof found) =>
    which.length === 0
      ? []
      : [
          `Unable to share service instance ${instance.spec.displayName} with spaces ${JSON.stringify(which.map(({ guid }) => guid))}. ${why}`,
        ];
  const unseen = found.filter(({ space }) => !space || !access.readsSpace(identity, space));
  const unwritable = found.filter(
    ({ space }) => space && access.readsSpace(identity, space) && !access.writesSpace(identity, space),
  );
  const problems = [
    ...refused('Ensure the spaces exist and that you have access to them.', unseen),
    ...refused('Write permission is required in order to share a service instance with a space.', unwritable),
  ];
  if (problems.length > 0) throw unprocessable(problems.join('\n'));
  return found.flatMap(({ space }) => (space ? [space] : []));
}

function requireSharing(context: Context, instance: Instance, spaces: Stored<Space>[]): void {
  const name = instance.spec.displayName;
  const chain = instance.spec.managed && chainOf(context, planGuid(instance));
  if (!chain) throw unprocessable('User-provided services cannot be shared.');
  const { plan, offering } = chain;
  if (offering.spec.requires.includes('route_forwarding')) throw unprocessable('Route services cannot be shared.');
  if (!isShareable(offering)) {
    throw unprocessable(`The ${offering.spec.displayName} service does not support service instance sharing.`);
  }
  if (isCreateFailed(instance)) throw unprocessable(`The service instance could not be found: ${name}`);
  if (isUnderWay(instance)) {
    throw unprocessable(
      instance.spec.request?.type === 'delete'
        ? 'The service instance is getting deleted.'
        : 'Service instance is currently being created. It can be shared after its creation succeeded.',
    );
  }
  if (!plan.spec.available) {
    throw unprocessable(`The service instance could not be shared as the ${plan.spec.displayName} plan is inactive.`);
  }
  for (const space of spaces) requireTarget(context, instance, { space, plan, offering });
}

function requireTarget(
  context: Context,
  instance: Instance,
  {
    space,
    plan,
    offering,
  }: { space: Stored<Space> } & Pick<NonNullable<ReturnType<typeof chainOf>>, 'plan' | 'offering'>,
): void {
  const { records } = context;
  const name = instance.spec.displayName;
  const guid = space.metadata.name;
  if (records.spaceOf(instance)?.metadata.name === guid) {
    throw unprocessable(
      `Unable to share service instance '${name}' with space '${guid}'. Service instances cannot be shared into the space where they were created.`,
    );
  }
  if (!isOpenTo(context, plan, space)) {
    const organization = records.organizations.get(space.spec.organization)?.spec.displayName ?? '';
    throw unprocessable(
      `Access to service ${offering.spec.displayName} and plan ${plan.spec.displayName} is not enabled in ${organization}/${space.spec.displayName}.`,
    );
  }
  const isNamed = ({ metadata, spec }: Instance) =>
    metadata.name !== instance.metadata.name && spec.displayName.toLowerCase() === name.toLowerCase();
  if (records.serviceInstances.inNamespace(space.spec.namespace).some(isNamed)) {
    throw unprocessable(`A service instance called ${name} already exists in ${space.spec.displayName}.`);
  }
  if (records.serviceInstances.all().some((one) => isNamed(one) && one.spec.sharedWith?.includes(guid))) {
    throw unprocessable(`A service instance called ${name} has already been shared with ${space.spec.displayName}.`);
  }
}

async function unbindIn(
  context: Context,
  { identity }: ApiRequest,
  instance: Instance,
  space: Stored<Space>,
): Promise<void> {
  if (context.records.spaceOf(instance)?.metadata.name === space.metadata.name) return;
  const bindings = context.records.serviceBindings
    .inNamespace(space.spec.namespace)
    .filter(({ spec }) => spec.instance === instance.metadata.name);
  try {
    await unbindAll(context, identity, bindings);
  } catch (error) {
    if (!(error instanceof CloudFoundryError)) throw error;
    throw new CloudFoundryError(
      'ServiceInstanceUnshareFailed',
      `Unshare of service instance failed: \n\nUnshare of service instance failed because one or more bindings could not be deleted.\n\n \t${error.message}`,
    );
  }
}

async function tell(
  context: Context,
  { identity }: ApiRequest,
  instance: Instance,
  what: 'share' | 'unshare',
  data: Json,
): Promise<void> {
  const space = context.records.spaceOf(instance);
  await context.audit.record({
    type: `audit.service_instance.${what}`,
    actor: identity,
    target: { guid: instance.metadata.name, type: 'service_instance', name: instance.spec.displayName },
    ...(space ? { space } : {}),
    data,
  });
}
