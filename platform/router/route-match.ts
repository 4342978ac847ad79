/** Which route of a table a request took: the longest path of its host, an exact host before wildcards, which are weaker the more labels they stand for. */
import { hostKey } from './haproxy/state.ts';
import type { Route, RoutingTable } from './model.ts';

export type RouteMatcher = (host: string, path: string) => Route | undefined;

export function routeMatcher({ routes }: Pick<RoutingTable, 'routes'>): RouteMatcher {
  const byHost = new Map<string, Route[]>();
  for (const route of routes) {
    const key = hostKey(route);
    const known = byHost.get(key);
    if (known) known.push(route);
    else byHost.set(key, [route]);
  }
  for (const list of byHost.values()) list.sort((a, b) => b.path.length - a.path.length);
  return (rawHost, rawPath) => {
    const host = rawHost.toLowerCase().replace(/:\d+$/, '');
    const path = rawPath.replace(/[?#].*$/s, '');
    const below = ({ path: of }: Route): boolean => of === '/' || path === of || path.startsWith(`${of}/`);
    for (const name of namesOf(host)) {
      const found = byHost.get(name)?.find(below);
      if (found) return found;
    }
    return undefined;
  };
}

/** The strongest first. */
function* namesOf(host: string): Iterable<string> {
  yield host;
  yield host.replace(/^[^.]*/, '*');
  for (let rest = host; rest.includes('.'); ) {
    rest = rest.slice(rest.indexOf('.') + 1);
    yield `**.${rest}`;
  }
  yield '*';
}
