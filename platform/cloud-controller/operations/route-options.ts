/** Options of routes (`cf create-route --option loadbalancing=least-connection`): whom the router gives the next request. */
import type { Route } from '../../resources/types.ts';
import { isObject, type Reader } from '../validate.ts';

export type RouteOptions = NonNullable<Route['spec']['options']>;
/** Null takes an option away. */
export type OptionsChange = { [Name in keyof RouteOptions]: RouteOptions[Name] | null };

const ALGORITHMS = ['round-robin', 'least-connection'] as const;

/** In Cloud Foundry's words; empty where all is right. */
export function optionProblems(options: unknown): string[] {
  if (!isObject(options)) return ['Options must be an object'];
  const unknown = Object.keys(options).filter((name) => name !== 'loadbalancing');
  if (unknown.length > 0)
    return [`Options Unknown field(s): ${unknown.map((name) => `'${name.slice(0, 60)}'`).join(', ')}`];
  const { loadbalancing = null } = options;
  return loadbalancing === null || ALGORITHMS.some((one) => one === loadbalancing)
    ? []
    : [`Options Loadbalancing must be one of '${ALGORITHMS.join(', ')}' if present`];
}

/** Undefined where there are none; mistakes go to the reader. */
export function readOptions(reader: Reader): OptionsChange | undefined {
  const { options } = reader.body;
  if (options === undefined || options === null) return undefined;
  const problems = optionProblems(options);
  for (const problem of problems) reader.fail(problem);
  return problems.length === 0 ? (options as OptionsChange) : undefined;
}

export function mergedOptions(old: RouteOptions, { loadbalancing }: OptionsChange): RouteOptions {
  if (loadbalancing === undefined) return old;
  return loadbalancing === null ? {} : { loadbalancing };
}
