/** Service offerings: what brokers have in their catalogs. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceBroker, ServiceOffering } from '../../resources/service-types.ts';
import { isInUse } from '../../services/catalog-sync.ts';
import { type ApiRequest, type Context, type Endpoint, ok } from '../api.ts';
import { CloudFoundryError, notFound, unprocessable } from '../errors.ts';
import { type Field, fieldParameters, includedFields } from '../fields.ts';
import { unique } from '../includes.ts';
import { listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { purgeInstance } from '../operations/service-purge.ts';
import { tell } from '../operations/tell.ts';
import { presentBroker, presentOffering } from '../present/service-catalog.ts';
import { planGuid } from '../../services/context.ts';
import { isOpenToOrganization, isOpenTo, requireWritesBroker, seesOffering } from '../service-access.ts';

export function serviceOfferingEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const find = (request: ApiRequest): Stored<ServiceOffering> => {
    const offering = records.serviceOfferings.get(request.params.guid ?? '');
    if (!offering || !seesOffering(context, request.identity, offering)) throw notFound('Service offering');
    return offering;
  };
  const write = (request: ApiRequest): Stored<ServiceOffering> => {
    const offering = find(request);
    requireWritesBroker(context, request.identity, offering.spec.broker);
    return offering;
  };
  const plansOf = ({ metadata }: Stored<ServiceOffering>) =>
    records.servicePlans.all().filter(({ spec }) => spec.offering === metadata.name);
  const brokerOf = ({ spec }: Stored<ServiceOffering>) => records.serviceBrokers.get(spec.broker);
  const fields: Record<string, Field<Stored<ServiceOffering>>> = {
    service_broker: {
      allowed: ['guid', 'name'],
      into: 'service_brokers',
      of: (items) => unique<ServiceBroker>(items.map(brokerOf)).map((broker) => presentBroker(urls, broker)),
    },
  };
  return [
    {
      method: 'GET',
      path: '/v3/service_offerings',
      auth: 'user',
      summary: 'List service offerings.',
      handle: (request) =>
        listReply(context, request, {
          items: records.serviceOfferings.all().filter((item) => seesOffering(context, request.identity, item)),
          present: (item) => presentOffering(urls, item),
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            available: (item, values) => values.includes(String(item.spec.available)),
            broker_catalog_ids: (item, values) => values.includes(item.spec.brokerId),
            service_broker_guids: (item, values) => values.includes(item.spec.broker),
            service_broker_names: (item, values) => values.includes(brokerOf(item)?.spec.displayName ?? ''),
            space_guids: (item, values) =>
              values.some((guid) => {
                const space = records.spaces.get(guid);
                return space && plansOf(item).some((plan) => isOpenTo(context, plan, space));
              }),
            organization_guids: (item, values) =>
              values.some((guid) => plansOf(item).some((plan) => isOpenToOrganization(context, plan, guid))),
          },
          orders: { name: ({ spec }) => spec.displayName },
          userLabels: ({ spec }) => spec.userMetadata?.labels ?? {},
          ignored: fieldParameters(fields),
          included: (items) => includedFields(request.query, fields, items),
        }),
    },
    {
      method: 'GET',
      path: '/v3/service_offerings/:guid',
      auth: 'user',
      summary: 'Get a service offering.',
      handle: (request) => {
        const offering = find(request);
        const included = includedFields(request.query, fields, [offering]);
        return ok({ ...presentOffering(urls, offering), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'PATCH',
      path: '/v3/service_offerings/:guid',
      auth: 'user',
      summary: "Change a service offering's metadata.",
      handle: async (request) => {
        const changed = await changeMetadata(records.serviceOfferings, write(request), request.body);
        return ok(presentOffering(urls, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/service_offerings/:guid',
      auth: 'user',
      summary: 'Delete a service offering, or forget it with all its instances without asking the broker.',
      handle: async (request) => {
        const offering = write(request);
        const plans = plansOf(offering);
        const purge = request.query.get('purge') === 'true';
        if (purge) {
          for (const instance of records.serviceInstances.all()) {
            if (plans.some(({ metadata }) => metadata.name === planGuid(instance))) {
              await purgeInstance(context, request.identity, instance);
            }
          }
        } else if (plans.length > 0) {
          throw unprocessable('Please delete the service_plans associations for your services.');
        }
        for (const { metadata } of plans) {
          if (isInUse(context, metadata.name)) {
            throw new CloudFoundryError(
              'UnprocessableEntity',
              'Somebody made an instance at the same time. Try again.',
            );
          }
          await records.servicePlans.delete(metadata.name);
        }
        await records.serviceOfferings.delete(offering.metadata.name);
        await tell(context, request, {
          type: 'audit.service.delete',
          kind: 'service',
          object: offering,
          data: { request: { purge } },
        });
        return { status: 204 };
      },
    },
  ];
}
