/** Who gets a host and path that several want: of apps' routes and of Ingresses, the oldest. */
import { type Backend, type Route, RouterError, type RoutingTable } from './model.ts';
import { checkRoute, routeKey } from './validate.ts';

export interface Claim {
  /** When what it is of was made, and its name: compared as text. */
  age: string;
  /** What others are told of it. */
  holder: string;
  route: Route;
  /** Asked once for each name of a backend. */
  backend(): Backend;
  refuse(reason: string): void;
}

/** Claims of one age stand in the order they came in. */
export function settle(claims: readonly Claim[], systemHosts: ReadonlySet<string>): RoutingTable {
  const table: RoutingTable = { routes: [], backends: [] };
  const backends = new Set<string>();
  const holders = new Map<string, string>();
  for (const claim of claims.toSorted((a, b) => (a.age < b.age ? -1 : a.age > b.age ? 1 : 0))) {
    const { route } = claim;
    const key = routeKey(route);
    const holder = holders.get(key);
    const problem = problemOf(route, systemHosts) ?? (holder && `${holder} has ${key} already`);
    if (problem !== undefined) {
      claim.refuse(problem);
      continue;
    }
    holders.set(key, claim.holder);
    table.routes.push(route);
    if (backends.has(route.backend)) continue;
    backends.add(route.backend);
    table.backends.push(claim.backend());
  }
  return table;
}

function problemOf(route: Route, systemHosts: ReadonlySet<string>): string | undefined {
  if (systemHosts.has(route.host)) return `${route.host} is the platform's own`;
  try {
    checkRoute(route);
  } catch (error) {
    if (error instanceof RouterError) return error.message;
    throw error;
  }
  return undefined;
}
