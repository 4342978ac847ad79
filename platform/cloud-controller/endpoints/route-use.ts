import { type Context, type Endpoint, ok } from '../api.ts';
import { notFound } from '../errors.ts';

/** Not Cloud Foundry's: what `sampan routes` shows. */
export function routeUseEndpoints({ records, access, metrics }: Context): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v3/spaces/:guid/route_use',
      auth: 'user',
      summary: 'Say how the routes of a space have answered within the last minute.',
      handle: ({ params, identity }) => {
        const space = records.spaces.get(params.guid ?? '');
        if (!space || !access.readsSpace(identity, space)) throw notFound('Space');
        const routes = records.routes.inNamespace(space.spec.namespace).map(({ metadata: { name } }) => {
          const { seconds, requests, errors, p50, p95, p99 } = metrics?.routeUse(name) ?? NOTHING;
          return {
            guid: name,
            requests_per_second: requests / seconds,
            errors,
            p50: p50 ?? null,
            p95: p95 ?? null,
            p99: p99 ?? null,
          };
        });
        return ok({ routes });
      },
    },
  ];
}

const NOTHING = { seconds: 1, requests: 0, errors: 0, p50: undefined, p95: undefined, p99: undefined };
