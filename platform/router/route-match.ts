/** Which route of a table a request took: the longest path of its host, an exact host before a wildcard. */
import type { Route, RoutingTable } from './model.ts';

export type RouteMatcher = (host: string, path: string) => Route | undefined;

export function routeMatcher({ routes }: Pick<RoutingTable, 'routes'>): RouteMatcher {
  const byHost = new Map<string, Route[]>();
  for (const route of routes) {
    const known = byHost.get(route.host);
    if (known) known.push(route);
    else byHost.set(route.host, [route]);
  }
  for (const list of byHost.values()) list.sort((a, b) => b.path.length - a.path.length);
  return (rawHost, rawPath) => {
    const host = rawHost.toLowerCase().replace(/:\d+$/, '');
    const path = rawPath.replace(/[?#].*$/s, '');
    const below = ({ path: of }: Route): boolean => of === '/' || path === of || path.startsWith(`${of}/`);
    for (const name of [host, host.replace(/^[^.]*/, '*')]) {
      const found = byHost.get(name)?.find(below);
      if (found) return found;
    }
    return undefined;
  };
}
