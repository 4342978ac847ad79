/**
 * Every endpoint of Docker's Engine API 1.45, with what answers it here. Those without a handler are answered 501; a path
 * that is not in the table at all is 404.
 */
import { CONTAINER_ROUTES } from './container-routes.ts';
import { events } from './events.ts';
import { IMAGE_ROUTES } from './image-routes.ts';
import type { Route } from './route.ts';
import { info, ping, version } from './system.ts';
import { VOLUME_ROUTES } from './volume-routes.ts';

const SUPPORTED: readonly Route[] = [
  { method: 'GET', path: '/_ping', summary: 'Whether the engine answers, and its API version', handle: ping },
  { method: 'HEAD', path: '/_ping', summary: 'The same, headers only', handle: ping },
  { method: 'GET', path: '/version', summary: 'Versions of the engine and of its parts', handle: version },
  { method: 'GET', path: '/info', summary: 'What the engine is and runs on', handle: info },
  { method: 'GET', path: '/events', summary: 'What happens; since, until, filters', handle: events },
  ...CONTAINER_ROUTES,
  ...IMAGE_ROUTES,
  ...VOLUME_ROUTES,
];

const UNSUPPORTED = `
GET /containers/{id}/changes, GET /containers/{id}/export, GET /containers/{id}/attach/ws, POST /build, POST /build/prune, GET /images/search,
POST /auth, POST /commit, GET /system/df, PUT /volumes/{name}, GET /networks, GET /networks/{id},
DELETE /networks/{id}, POST /networks/create, POST /networks/{id}/connect, POST /networks/{id}/disconnect,
POST /networks/prune, GET /plugins, GET /plugins/privileges, POST /plugins/pull, GET /plugins/{name}/json,
DELETE /plugins/{name}, POST /plugins/{name}/enable, POST /plugins/{name}/disable, POST /plugins/{name}/upgrade,
POST /plugins/create, POST /plugins/{name}/push, POST /plugins/{name}/set, GET /nodes, GET /nodes/{id},
DELETE /nodes/{id}, POST /nodes/{id}/update, GET /swarm, POST /swarm/init, POST /swarm/join, POST /swarm/leave,
POST /swarm/update, GET /swarm/unlockkey, POST /swarm/unlock, GET /services, POST /services/create,
GET /services/{id}, DELETE /services/{id}, POST /services/{id}/update, GET /services/{id}/logs, GET /tasks,
GET /tasks/{id}, GET /tasks/{id}/logs, GET /secrets, POST /secrets/create, GET /secrets/{id}, DELETE /secrets/{id},
POST /secrets/{id}/update, GET /configs, POST /configs/create, GET /configs/{id}, DELETE /configs/{id},
POST /configs/{id}/update, GET /distribution/{name}/json, POST /session`;

export const ROUTES: readonly Route[] = [
  ...SUPPORTED,
  ...UNSUPPORTED.split(',').map((line): Route => {
    const [method = '', path = ''] = line.trim().split(' ');
    return { method, path };
  }),
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
