import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type ApiRequest, type Context, type Endpoint, ok, type Reply } from '../api.ts';
import { notFound, unprocessable } from '../errors.ts';
import { type ListOptions, listReply } from '../listing.ts';
import { presentAppUsageEvent, presentServiceUsageEvent } from '../present/usage-events.ts';
import type { Collection } from '../records.ts';

export function usageEventEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  return [
    ...eventEndpoints(context, {
      path: '/v3/app_usage_events',
      what: 'app usage',
      summary: 'List when processes, tasks and builds used how much memory, for administrators and global auditors.',
      events: records.appUsageEvents,
      present: (event) => presentAppUsageEvent(urls, event),
      purge: () => context.usage.purgeApps(),
    }),
    ...eventEndpoints(context, {
      path: '/v3/service_usage_events',
      what: 'service usage',
      summary: 'List when there were which service instances, for administrators and global auditors.',
      events: records.serviceUsageEvents,
      present: (event) => presentServiceUsageEvent(urls, event),
      filters: {
        service_instance_types: (item, values) => values.includes(item.spec.instance.type),
        service_offering_guids: (item, values) => values.includes(item.spec.offering?.guid ?? ''),
      },
      purge: () => context.usage.purgeServices(),
    }),
  ];
}

interface Events<T extends ClientObject> extends Pick<ListOptions<T>, 'present' | 'filters'> {
  path: string;
  what: string;
  summary: string;
  events: Collection<T>;
  purge: () => Promise<void>;
}

function eventEndpoints<T extends ClientObject>(context: Context, options: Events<T>): Endpoint[] {
  const { events, path, what } = options;
  const readsAll = (request: ApiRequest) => request.identity.reads !== 'own';
  return [
    {
      method: 'GET',
      path,
      auth: 'user',
      summary: options.summary,
      handle: (request) => list(context, request, options, readsAll(request) ? events.all() : []),
    },
    {
      method: 'GET',
      path: `${path}/:guid`,
      auth: 'user',
      summary: `Get one event of ${what}.`,
      handle: (request) => {
        const event = readsAll(request) ? events.get(request.params.guid ?? '') : undefined;
        if (!event) throw notFound(`${what.charAt(0).toUpperCase()}${what.slice(1)} event`);
        return ok(options.present(event));
      },
    },
    {
      method: 'POST',
      path: `${path}/actions/destructively_purge_all_and_reseed`,
      auth: 'admin',
      summary: `Forget all events of ${what}, and begin anew with what is there.`,
      handle: async () => {
        await options.purge();
        return ok({});
      },
    },
  ];
}

function list<T extends ClientObject>(
  context: Context,
  request: ApiRequest,
  options: Events<T>,
  all: Stored<T>[],
): Reply {
  const after = request.query.get('after_guid');
  if (after !== null && request.identity.reads !== 'own' && !options.events.get(after)) {
    throw unprocessable(`After guid filter must be a valid ${options.what} event guid.`);
  }
  return listReply(context, request, {
    items: after === null ? all : all.filter(({ metadata }) => metadata.name > after),
    present: options.present,
    ...(options.filters ? { filters: options.filters } : {}),
    ignored: ['after_guid'],
    // Their names say the order in which they were written, whatever the clock did.
    orders: { created_at: ({ metadata }) => metadata.name },
  });
}
