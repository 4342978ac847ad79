/** Routes in other spaces than their own, and routes that go to another space. All of it where the flag `route_sharing` is on. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Route, Space } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { CloudFoundryError, notAuthorized, unprocessable } from '../errors.ts';
import {
  moveRoute,
  operateRoute,
  readRoute,
  shareRoute,
  spacesOfRoute,
  unshareRoute,
} from '../operations/route-sharing.ts';
import { tell } from '../operations/tell.ts';
import { link } from '../present/base.ts';
import { toMany } from '../present/quotas.ts';
import { routeUrl } from '../present/routes.ts';
import { isObject, Reader, readGuids } from '../validate.ts';
import { domainsFor } from './organizations.ts';

const PATH = '/v3/routes/:guid/relationships/shared_spaces';

export function routeSharingEndpoints(context: Context): Endpoint[] {
  const { access, records } = context;
  const requireFlag = (): void => {
    if (context.flags.isOn('route_sharing')) return;
    throw new CloudFoundryError('FeatureDisabled', 'Feature Disabled: route_sharing');
  };
  const operate = (request: ApiRequest): Stored<Route> => {
    requireFlag();
    return operateRoute(context, request);
  };
  const present = (route: Stored<Route>): Json => ({
    ...toMany(
      spacesOfRoute(context, route)
        .slice(1)
        .map(({ metadata }) => metadata.name),
    ),
    links: {
      self: link(`${context.urls.api}/v3/routes/${route.metadata.name}/relationships/shared_spaces`),
    },
  });
  return [
    {
      method: 'GET',
      path: PATH,
      auth: 'user',
      summary: 'List the spaces that a route is shared with.',
      handle: (request) => {
        requireFlag();
        return ok(present(readRoute(context, request)));
      },
    },
    {
      method: 'POST',
      path: PATH,
      auth: 'user',
      summary: 'Share a route with other spaces: it may lead to their apps as well.',
      handle: async (request) => {
        const route = operate(request);
        const reader = new Reader(request.body).only('data');
        const guids = readGuids(reader, { data: request.body['data'] });
        reader.done();
        const changed = await shareRoute(context, route, targets(context, request, route, guids));
        await told(context, request, changed, 'share', { target_space_guids: guids });
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: `${PATH}/:space`,
      auth: 'user',
      summary: 'Share a route with a space no more; what it leads to there stays until it is unmapped.',
      handle: async (request) => {
        const route = operate(request);
        const guid = request.params.space ?? '';
        const what = `Unable to unshare route '${routeUrl(route)}' from space '${guid.slice(0, 60)}'`;
        const space = writable(context, request, guid, what);
        if (space.spec.namespace === route.metadata.namespace) {
          throw unprocessable(`${what}. Routes cannot be removed from the space that owns them.`);
        }
        const changed = await unshareRoute(context, route, space);
        await told(context, request, changed, 'unshare', { target_space_guid: guid });
        return { status: 204 };
      },
    },
    {
      method: 'PATCH',
      path: '/v3/routes/:guid/relationships/space',
      auth: 'user',
      summary: 'Move a route to another space; it is shared with the one before.',
      handle: async (request) => {
        const route = operate(request);
        const owner = records.spaceOf(route);
        if (!owner || !access.writesSpace(request.identity, owner)) throw notAuthorized();
        const { data } = request.body;
        const guid = isObject(data) ? data.guid : undefined;
        if (typeof guid !== 'string')
          throw unprocessable('Data must be structured like this: "data": {"guid": "valid-guid"}');
        const what = `Unable to transfer owner of route '${routeUrl(route)}' to space '${guid.slice(0, 60)}'`;
        const space = writable(context, request, guid, what);
        if (!domainsFor(context, space.spec.organization).some(({ metadata }) => metadata.name === route.spec.domain)) {
          throw unprocessable(`${what}. Target space does not have access to route's domain`);
        }
        const moved = await moveRoute(context, route, space);
        await told(context, request, moved, 'transfer-owner', {
          original_space_guid: owner.metadata.name,
          target_space_guid: guid,
        });
        return ok({ status: 'ok' });
      },
    },
  ];
}

/** @throws CloudFoundryError  `what` was not to be, and why */
function writable({ records, access }: Context, { identity }: ApiRequest, guid: string, what: string): Stored<Space> {
  const space = records.spaces.get(guid);
  if (!space || !access.readsSpace(identity, space)) {
    throw unprocessable(`${what}. Ensure the space exists and that you have access to it.`);
  }
  if (!access.operatesSpace(identity, space)) {
    throw unprocessable(`${what}. You don't have write permission for the target space.`);
  }
  return space;
}

function targets(context: Context, { identity }: ApiRequest, route: Stored<Route>, guids: string[]): Stored<Space>[] {
  const { records, access } = context;
  const refused = (why: string, which: string[]) =>
    which.length === 0
      ? []
      : [
          `Unable to share route ${routeUrl(route)} with spaces [${which.map((guid) => `'${guid.slice(0, 60)}'`).join(', ')}]. ${why}`,
        ];
  const found = new Map(guids.map((guid) => [guid, records.spaces.get(guid)]));
  const isSeen = (space: Stored<Space> | undefined) => space !== undefined && access.readsSpace(identity, space);
  const named = (is: (space: Stored<Space> | undefined) => boolean) => guids.filter((guid) => is(found.get(guid)));
  const problems = [
    ...refused(
      'Ensure the spaces exist and that you have access to them.',
      named((space) => !isSeen(space)),
    ),
    ...refused(
      'Write permission is required in order to share a route with a space and the containing organization must not be suspended.',
      named((space) => space !== undefined && isSeen(space) && !access.writesSpace(identity, space)),
    ),
  ];
  if (problems.length > 0) throw unprocessable(problems.join('\n'));
  const spaces = [...found.values()].filter((space) => space !== undefined);
  const own = spaces.find(({ spec }) => spec.namespace === route.metadata.namespace);
  if (own) {
    throw unprocessable(
      `Unable to share route '${routeUrl(route)}' with space '${own.metadata.name}'. Routes cannot be shared into the space where they were created.`,
    );
  }
  return spaces;
}

function told(
  context: Context,
  request: ApiRequest,
  route: Stored<Route>,
  what: 'share' | 'unshare' | 'transfer-owner',
  data: Json,
): Promise<void> {
  return tell(context, request, {
    type: `audit.route.${what}`,
    kind: 'route',
    object: { ...route, spec: { displayName: route.spec.host } },
    space: context.records.spaceOf(route),
    data,
  });
}
