/** The routes of a manifest: `routes: [{route, protocol, options}]`. */
import type { Destination } from '../../resources/types.ts';
import { optionProblems, type OptionsChange } from '../operations/route-options.ts';
import { isObject } from '../validate.ts';

export interface RoutePlan {
  /** `host.domain/path`, or `domain:port`. */
  route: string;
  protocol?: Destination['protocol'];
  options?: OptionsChange;
}

const PROTOCOLS = ['http1', 'http2', 'tcp'] as const;
const LONGEST = 400;

export function readRoutes(routes: unknown, fail: (message: string) => void): RoutePlan[] {
  if (routes === undefined || routes === null) return [];
  if (!Array.isArray(routes)) {
    fail('Routes must be a list of route objects');
    return [];
  }
  const plans: RoutePlan[] = [];
  for (const entry of routes as unknown[]) {
    const { route, protocol, options } = isObject(entry) ? entry : {};
    if (typeof route !== 'string' || route.length > LONGEST) {
      fail('Routes must be a list of route objects, as in "- route: app.example.com"');
      continue;
    }
    const known = PROTOCOLS.find((one) => one === protocol);
    if (protocol !== undefined && known === undefined) fail("Route protocol must be 'http1', 'http2' or 'tcp'.");
    const problems = options === undefined || options === null ? [] : optionProblems(options);
    for (const problem of problems) fail(`Route '${route.slice(0, 80)}': ${problem}`);
    const isRight = isObject(options) && problems.length === 0;
    plans.push({ route, ...(known && { protocol: known }), ...(isRight && { options: options as OptionsChange }) });
  }
  return plans;
}
