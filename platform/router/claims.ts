/** Who gets a host and path that several want: of apps' routes and of Ingresses, the oldest. */
import { type Backend, type Route, RouterError, type RoutingTable } from './model.ts';
import { checkRoute } from './validate.ts';

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
    const key = keyOf(claim, systemHosts);
    if (key === undefined) continue;
    const holder = holders.get(key);
    if (holder !== undefined) {
      // A route that is being moved to another space is there twice for a moment.
      if (holder !== claim.holder) claim.refuse(`${holder} has ${key} already`);
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

/** Undefined where it was refused. */
function keyOf(claim: Claim, systemHosts: ReadonlySet<string>): string | undefined {
  const { route } = claim;
  if (systemHosts.has(route.host)) {
    claim.refuse(`${route.host} is the platform's own`);
    return undefined;
  }
  try {
    return checkRoute(route);
  } catch (error) {
    if (!(error instanceof RouterError)) throw error;
    claim.refuse(error.message);
    return undefined;
  }
}
