/** What routes of TCP domains have in place of hosts and paths: ports of the router, each of them one route's, whatever its domain. */
import { randomInt } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain, Route } from '../../resources/types.ts';
import type { Context, Json } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { portRanges } from '../../router/ports.ts';

/** The guid of the only one. */
export const ROUTER_GROUP = '00000000-0000-4000-8000-000000000010';
const NAME = 'default-tcp';

export function routerGroups(context: Context): Json[] {
  const ports = context.tcpPorts();
  if (ports.length === 0) return [];
  return [{ guid: ROUTER_GROUP, name: NAME, type: 'tcp', reservable_ports: portRanges(ports).join() }];
}

export function isTcp(domain: Stored<Domain>): boolean {
  return domain.spec.routerGroup !== undefined;
}

/** Why a TCP route cannot be, in Cloud Foundry's words. */
export function tcpProblem(
  context: Context,
  { host, path, port }: { host: string; path: string; port?: number },
): string | undefined {
  if (host !== '' || path !== '') return "Routes with protocol 'tcp' do not support paths or hosts.";
  return port === undefined || context.tcpPorts().includes(port) ? undefined : unavailable(port);
}

export function unavailable(port: number): string {
  return `Port '${port}' is not available. Try a different port or use a different domain.`;
}

/** Any port that nobody has, as long as there is one; asked again for as long as somebody else is faster. */
export function freePort(context: Context, taken: ReadonlySet<number>): number {
  const used = new Set(context.records.routes.all().map(portOf));
  const free = context.tcpPorts().filter((port) => !used.has(port) && !taken.has(port));
  const port = free.length === 0 ? undefined : free[randomInt(free.length)];
  if (port !== undefined) return port;
  throw unprocessable(
    `There are no more ports available for router group: ${NAME}. Please contact your administrator for more information.`,
  );
}

function portOf({ spec }: Route): number | undefined {
  return spec.port;
}

/** Which protocols a destination of the route may have, the first one by default. */
export function protocolsOf(route: Route): readonly ('http1' | 'http2' | 'tcp')[] {
  return route.spec.protocol === 'tcp' ? ['tcp'] : ['http1', 'http2'];
}

/** The protocol asked for, or the route's own; throws where that is none of the route's. */
export function protocolFor(route: Route, asked: string | undefined): 'http1' | 'http2' | 'tcp' {
  const allowed = protocolsOf(route);
  const protocol = asked === undefined ? allowed[0] : allowed.find((one) => one === asked);
  if (protocol !== undefined) return protocol;
  throw unprocessable(
    `Cannot use '${asked}' protocol for ${route.spec.protocol} routes; valid options are: [${allowed.join(', ')}].`,
  );
}
