/**
 * Routes and spaces. A route is of one space, which alone changes it; it may be shared with others: then it is seen there, and may lead to
 * their apps. Which space it is of can be changed: it is then shared with the one before, so that what it leads to stays.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, labels, type Route, type Space } from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { ApiRequest, Context } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { requireRoute, underQuota } from './quota.ts';
import { serially } from './serially.ts';
import { bindingOfRoute } from './service-bindings.ts';

type Known = Pick<Context, 'records' | 'access'>;

/** Spaces where the route is seen, its own first. */
export function spacesOfRoute({ records }: Pick<Context, 'records'>, route: Stored<Route>): Stored<Space>[] {
  const others = (route.spec.sharedWith ?? []).map((guid) => records.spaces.get(guid));
  return [records.spaceOf(route), ...others].filter((space) => space !== undefined);
}

export function visibleRoutes({ records, access }: Known, identity: Identity): (route: Stored<Route>) => boolean {
  const readable = new Map<Stored<Space>, boolean>();
  const reads = (space: Stored<Space> | undefined): boolean => {
    let known = space && readable.get(space);
    if (space && known === undefined) readable.set(space, (known = access.readsSpace(identity, space)));
    return known ?? false;
  };
  return (route) =>
    !route.metadata.deletionTimestamp &&
    (reads(records.spaceOf(route)) || route.spec.sharedWith?.some((guid) => reads(records.spaces.get(guid))) === true);
}

/** @throws CloudFoundryError where the caller does not see it */
export function readRoute(context: Known, { identity, params }: ApiRequest): Stored<Route> {
  const route = context.records.routes.get(params.guid ?? '');
  if (!route || !visibleRoutes(context, identity)(route)) throw notFound('Route');
  return route;
}

/** One that the caller may change, as members of its own space may. */
export function operateRoute(context: Known, request: ApiRequest): Stored<Route> {
  const route = readRoute(context, request);
  const space = context.records.spaceOf(route);
  if (!space || !context.access.operatesSpace(request.identity, space)) throw notAuthorized();
  return route;
}

/** @throws CloudFoundryError where the route may not lead to the app */
export function requireSpace(context: Pick<Context, 'records'>, route: Stored<Route>, app: Stored<App>): void {
  if (spacesOfRoute(context, route).some(({ spec }) => spec.namespace === app.metadata.namespace)) return;
  throw unprocessable("Routes destinations must be in either the route's space or the route's shared spaces");
}

export function shareRoute(
  { records }: Context,
  route: Stored<Route>,
  spaces: Stored<Space>[],
): Promise<Stored<Route>> {
  return records.routes.modify(route.metadata.name, (current) => {
    const all = [...(current.spec.sharedWith ?? []), ...spaces.map(({ metadata }) => metadata.name)];
    return { ...current, spec: { ...current.spec, sharedWith: [...new Set(all)] } };
  });
}

/** What it leads to stays until somebody unmaps it. */
export function unshareRoute({ records }: Context, route: Stored<Route>, space: Stored<Space>): Promise<Stored<Route>> {
  return records.routes.modify(route.metadata.name, (current) => withoutSpace(current, space.metadata.name));
}

function withoutSpace(route: Route, space: string): Route {
  const { sharedWith = [], ...spec } = route.spec;
  const others = sharedWith.filter((guid) => guid !== space);
  return { ...route, spec: { ...spec, ...(others.length > 0 && { sharedWith: others }) } };
}

/** Its quota holds in the new space. */
export async function moveRoute(context: Context, route: Stored<Route>, space: Stored<Space>): Promise<Stored<Route>> {
  if (route.metadata.namespace === space.spec.namespace) return route;
  if (bindingOfRoute(context, route)) {
    throw unprocessable('The route is bound to a service instance of its space. Unbind it first.');
  }
  return underQuota(space, async () => {
    requireRoute(context, space, { port: route.spec.port !== undefined });
    const { name } = route.metadata;
    return serially(`route ${name}`, () =>
      context.records.routes.move(name, space.spec.namespace, movedRoute(context)),
    );
  });
}

/** For moves that a restart interrupted, too. */
export function movedRoute({ records }: Pick<Context, 'records'>): (copy: Route, old: Stored<Route>) => Route {
  return (copy, old) => {
    const space = records.spaceOf(copy)?.metadata.name ?? '';
    const before = records.spaceOf(old)?.metadata.name;
    const { spec, metadata } = withoutSpace(copy, space);
    const sharedWith = [...(spec.sharedWith ?? []), ...(before === undefined ? [] : [before])];
    return {
      ...copy,
      metadata: { ...metadata, labels: { ...metadata.labels, [labels.space]: space } },
      spec: { ...spec, sharedWith },
    };
  };
}
