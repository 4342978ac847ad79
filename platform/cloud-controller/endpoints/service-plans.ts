/** Service plans, and who may have instances of them. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceBroker, ServiceOffering, ServicePlan } from '../../resources/service-types.ts';
import { isInUse } from '../../services/catalog-sync.ts';
import { planGuid } from '../../services/context.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { CloudFoundryError, notFound, unprocessable } from '../errors.ts';
import { type Field, fieldParameters, includedFields } from '../fields.ts';
import { organizationsOf, unique } from '../includes.ts';
import { includedOf, listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { tell } from '../operations/tell.ts';
import { presentBroker, presentOffering, presentPlan, presentVisibility } from '../present/service-catalog.ts';
import { presentOrganization, presentSpace } from '../present/tenancy.ts';
import {
  isOpenTo,
  isOpenToOrganization,
  requireWritesBroker,
  seesInstance,
  seesPlan,
  spaceOfBroker,
  visibilityOf,
} from '../service-access.ts';

type Plan = Stored<ServicePlan>;

export function servicePlanEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const { find, write, present } = planHelpers(context);
  const offeringOf = ({ spec }: Plan) => records.serviceOfferings.get(spec.offering);
  const brokerOf = ({ spec }: Plan) => records.serviceBrokers.get(spec.broker);
  const fields: Record<string, Field<Plan>> = {
    'service_offering.service_broker': {
      allowed: ['guid', 'name'],
      into: 'service_brokers',
      of: (items) => unique<ServiceBroker>(items.map(brokerOf)).map((broker) => presentBroker(urls, broker)),
    },
  };
  const includes = {
    service_offering: (items: Plan[]): Json => ({
      service_offerings: unique<ServiceOffering>(items.map(offeringOf)).map((item) => presentOffering(urls, item)),
    }),
    'space.organization': (items: Plan[]): Json => {
      const spaces = unique(items.map((item) => spaceOfBroker(context, item.spec.broker)));
      return {
        spaces: spaces.map((space) => presentSpace(urls, space)),
        organizations: organizationsOf(context, spaces).map((item) => presentOrganization(urls, item)),
      };
    },
  };
  const seenBy = (request: ApiRequest, values: string[], item: Plan) =>
    values.some((guid) => {
      const instance = records.serviceInstances.get(guid);
      return instance && planGuid(instance) === item.metadata.name && seesInstance(context, request.identity, instance);
    });
  return [
    {
      method: 'GET',
      path: '/v3/service_plans',
      auth: 'user',
      summary: 'List service plans.',
      handle: (request) =>
        listReply(context, request, {
          items: records.servicePlans.all().filter((plan) => seesPlan(context, request.identity, plan)),
          present,
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            available: (item, values) => values.includes(String(item.spec.available)),
            broker_catalog_ids: (item, values) => values.includes(item.spec.brokerId),
            service_broker_guids: (item, values) => values.includes(item.spec.broker),
            service_broker_names: (item, values) => values.includes(brokerOf(item)?.spec.displayName ?? ''),
            service_offering_guids: (item, values) => values.includes(item.spec.offering),
            service_offering_names: (item, values) => values.includes(offeringOf(item)?.spec.displayName ?? ''),
            service_instance_guids: (item, values) => seenBy(request, values, item),
            space_guids: (item, values) =>
              values.some((guid) => {
                const space = records.spaces.get(guid);
                return space && isOpenTo(context, item, space);
              }),
            organization_guids: (item, values) => values.some((guid) => isOpenToOrganization(context, item, guid)),
          },
          orders: { name: ({ spec }) => spec.displayName },
          includes,
          userLabels: ({ spec }) => spec.userMetadata?.labels ?? {},
          ignored: fieldParameters(fields),
          included: (items) => includedFields(request.query, fields, items),
        }),
    },
    {
      method: 'GET',
      path: '/v3/service_plans/:guid',
      auth: 'user',
      summary: 'Get a service plan.',
      handle: (request) => {
        const plan = find(request);
        const included = {
          ...includedOf(request.query.get('include'), [plan], { includes }),
          ...includedFields(request.query, fields, [plan]),
        };
        return ok({ ...present(plan), ...(Object.keys(included).length > 0 ? { included } : {}) });
      },
    },
    {
      method: 'PATCH',
      path: '/v3/service_plans/:guid',
      auth: 'user',
      summary: "Change a service plan's metadata.",
      handle: async (request) => ok(present(await changeMetadata(records.servicePlans, write(request), request.body))),
    },
    {
      method: 'DELETE',
      path: '/v3/service_plans/:guid',
      auth: 'user',
      summary: 'Delete a service plan of which there are no instances.',
      handle: async (request) => {
        const plan = write(request);
        if (isInUse(context, plan.metadata.name)) {
          throw unprocessable('Please delete the service_instances associations for your service_plans.');
        }
        await records.servicePlans.delete(plan.metadata.name);
        await tell(context, request, { type: 'audit.service_plan.delete', kind: 'service_plan', object: plan });
        return { status: 204 };
      },
    },
    ...visibilityEndpoints(context),
  ];
}

function planHelpers(context: Context) {
  const { records, urls } = context;
  const find = (request: ApiRequest): Plan => {
    const plan = records.servicePlans.get(request.params.guid ?? '');
    if (!plan || !seesPlan(context, request.identity, plan)) throw notFound('Service plan');
    return plan;
  };
  const write = (request: ApiRequest): Plan => {
    const plan = find(request);
    requireWritesBroker(context, request.identity, plan.spec.broker);
    return plan;
  };
  const present = (plan: Plan): Json =>
    presentPlan(urls, plan, {
      offering: records.serviceOfferings.get(plan.spec.offering),
      space: spaceOfBroker(context, plan.spec.broker)?.metadata.name,
      visibility: visibilityOf(context, plan),
    });
  return { find, write, present };
}

function visibilityEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const { find, write } = planHelpers(context);
  const visible = (request: ApiRequest, plan: Plan): Json => {
    const organizations = plan.spec.organizations
      .filter((guid) => access.readsOrganization(request.identity, guid))
      .map((guid) => records.organizations.get(guid))
      .filter((organization) => organization !== undefined);
    const type = visibilityOf(context, plan);
    return presentVisibility(type, {
      space: type === 'space' ? spaceOfBroker(context, plan.spec.broker) : undefined,
      organizations,
    });
  };
  const set = async (request: ApiRequest, how: 'add' | 'replace'): Promise<Plan> => {
    const plan = write(request);
    const change = readVisibility(context, request.body);
    if (visibilityOf(context, plan) === 'space') {
      throw unprocessable("cannot update plans with visibility type 'space'");
    }
    const changed = await records.servicePlans.modify(plan.metadata.name, (current) => {
      const old = how === 'add' ? current.spec.organizations : [];
      const organizations = change.type === 'organization' ? [...new Set([...old, ...change.organizations])] : [];
      return { ...current, spec: { ...current.spec, visibility: change.type, organizations } };
    });
    await told(request, changed, 'update');
    return changed;
  };
  const told = (request: ApiRequest, plan: Plan, verb: string, data?: Json) =>
    tell(context, request, {
      type: `audit.service_plan_visibility.${verb}`,
      kind: 'service_plan_visibility',
      object: plan,
      ...(data ? { data } : {}),
    });
  return [
    {
      method: 'GET',
      path: '/v3/service_plans/:guid/visibility',
      auth: 'user',
      summary: 'Get who may have instances of a service plan.',
      handle: (request) => ok(visible(request, find(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/service_plans/:guid/visibility',
      auth: 'user',
      summary: 'Set who may have instances of a service plan.',
      handle: async (request) => ok(visible(request, await set(request, 'replace'))),
    },
    {
      method: 'POST',
      path: '/v3/service_plans/:guid/visibility',
      auth: 'user',
      summary: 'Let more organizations have instances of a service plan.',
      handle: async (request) => ok({ type: visibilityOf(context, await set(request, 'add')) }),
    },
    {
      method: 'DELETE',
      path: '/v3/service_plans/:guid/visibility/:organization',
      auth: 'user',
      summary: 'Let an organization have no more instances of a service plan.',
      handle: async (request) => {
        const plan = write(request);
        const { organization = '' } = request.params;
        if (visibilityOf(context, plan) !== 'organization') {
          throw unprocessable('Cannot delete visibilities from non-org-restricted plans');
        }
        if (!records.organizations.get(organization)) throw notFound('Organization');
        if (!plan.spec.organizations.includes(organization)) throw notFound('Service plan visibility');
        const changed = await records.servicePlans.modify(plan.metadata.name, (current) => {
          const organizations = current.spec.organizations.filter((guid) => guid !== organization);
          const visibility = organizations.length === 0 ? 'admin' : current.spec.visibility;
          return { ...current, spec: { ...current.spec, organizations, visibility } };
        });
        await told(request, changed, 'delete', { organization_guid: organization });
        return { status: 204 };
      },
    },
  ];
}

function readVisibility(
  { records }: Context,
  body: Json,
): { type: ServicePlan['spec']['visibility']; organizations: string[] } {
  const bad = (detail: string) => new CloudFoundryError('MessageParseError', detail);
  const { type, organizations = [], ...unknown } = body;
  if (Object.keys(unknown).length > 0) throw bad(`Unknown field(s): '${Object.keys(unknown).join("', '")}'`);
  if (type !== 'public' && type !== 'admin' && type !== 'organization') {
    throw bad("Type must be one of 'public', 'admin', 'organization'");
  }
  const guids = Array.isArray(organizations)
    ? organizations.map((entry: unknown) => (entry as { guid?: unknown } | null)?.guid)
    : [undefined];
  if (!guids.every((guid) => typeof guid === 'string')) {
    throw bad('Organizations must be a list structured like this: "organizations": [{"guid": "valid-guid"}]');
  }
  if (type !== 'organization' && guids.length > 0) throw bad('Organizations must be blank');
  if (type === 'organization' && guids.length === 0) throw bad("Organizations can't be blank");
  for (const guid of guids) {
    if (!records.organizations.get(guid))
      throw unprocessable(`Could not find Organization with guid: ${guid.slice(0, 60)}`);
  }
  return { type, organizations: guids };
}
