/**
 * Every endpoint of Docker's Engine API 1.45, with what answers it here. Those without a handler are answered 501; a path
 * that is not in the table at all is 404.
 */
import { ABSENT_ROUTES } from './absent-routes.ts';
import { BUILD_ROUTES } from './build-routes.ts';
import { CONTAINER_ROUTES } from './container-routes.ts';
import { systemDiskUsage } from './disk-usage.ts';
import { events } from './events.ts';
import { IMAGE_ROUTES } from './image-routes.ts';
import { NETWORK_ROUTES } from './network-routes.ts';
import { REGISTRY_ROUTES } from './registry-routes.ts';
import type { Route } from './route.ts';
import { info, ping, version } from './system.ts';
import { VOLUME_ROUTES } from './volume-routes.ts';

export const ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/_ping',
    summary: 'Whether the engine answers, and its API version',
    handle: ping,
    test: 'engine/docker-api/server.test.ts',
  },
  {
    method: 'HEAD',
    path: '/_ping',
    summary: 'The same, headers only',
    handle: ping,
    test: 'engine/docker-api/server.test.ts',
  },
  {
    method: 'GET',
    path: '/version',
    summary: 'Versions of the engine and of its parts',
    handle: version,
    test: 'engine/docker-api/server.test.ts',
  },
  {
    method: 'GET',
    path: '/info',
    summary: 'What the engine is and runs on',
    handle: info,
    test: 'engine/docker-api/server.test.ts',
  },
  {
    method: 'GET',
    path: '/events',
    summary: 'What happens; since, until, filters',
    handle: events,
    test: 'engine/docker-api/audit.test.ts',
  },
  ...CONTAINER_ROUTES,
  ...IMAGE_ROUTES,
  ...BUILD_ROUTES,
  ...VOLUME_ROUTES,
  {
    method: 'GET',
    path: '/system/df',
    summary: 'What lies on the disk: images, containers, volumes',
    handle: systemDiskUsage,
    test: 'engine/docker-api/system.test.ts',
  },
  ...REGISTRY_ROUTES,
  ...ABSENT_ROUTES,
  ...NETWORK_ROUTES,
];

const COMPILED = ROUTES.map((route) => {
  const source = route.path.replace(/\{(\w+)\}/g, (_, name: string) =>
    name === 'name' ? `(?<${name}>.+)` : `(?<${name}>[^/]+)`,
  );
  return { route, expression: new RegExp(`^${source}$`) };
});

/** The route and its parameters, decoded by the caller; undefined where no endpoint has this path and method. */
export function findRoute(
  method: string,
  path: string,
): { route: Route; parameters: Record<string, string> } | undefined {
  for (const { route, expression } of COMPILED) {
    if (route.method !== method) continue;
    const match = expression.exec(path);
    if (match !== null) return { route, parameters: { ...match.groups } };
  }
  return undefined;
}
