/**
 * Cloud Foundry's routing API, as far as cf asks it: the groups of routers for TCP routes. There is one, the platform's own router, for as
 * long as that has ports for them.
 */
import { type ApiRequest, type Context, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized } from '../errors.ts';
import { ROUTER_GROUP, routerGroups } from '../operations/tcp-routes.ts';

const READS = 'routing.router_groups.read';

export function routingEndpoints(context: Context): Endpoint[] {
  const groups = (request: ApiRequest): Json[] => {
    if (!request.identity.admin && !request.identity.scopes.includes(READS)) throw notAuthorized();
    return routerGroups(context);
  };
  return [
    {
      method: 'GET',
      path: '/routing/v1/router_groups',
      auth: 'user',
      summary: 'List the groups of routers for TCP routes.',
      handle: (request) => {
        const all = groups(request);
        const name = request.query.get('name');
        if (name === null) return ok(all);
        const named = all.filter((group) => group.name === name);
        return named.length > 0 ? ok(named) : missing(name);
      },
    },
    {
      method: 'GET',
      path: '/routing/v1/router_groups/:guid',
      auth: 'user',
      summary: 'Get a group of routers for TCP routes.',
      handle: (request) => {
        const { guid = '' } = request.params;
        const [group] = groups(request);
        return group && guid === ROUTER_GROUP ? ok(group) : missing(guid);
      },
    },
  ];
}

/** In that API's own form, which clients tell from others. */
function missing(name: string): Reply {
  const message = `Router Group '${name.slice(0, 80)}' not found`;
  return { status: 404, body: { name: 'ResourceNotFoundError', message } };
}
