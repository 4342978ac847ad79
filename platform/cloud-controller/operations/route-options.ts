/** Options of routes (`cf create-route --option loadbalancing=least-connection`): whom the router gives the next request. */
import type { Route } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { isObject, type Reader } from '../validate.ts';

export type RouteOptions = NonNullable<Route['spec']['options']>;
/** Null takes an option away. A balance is a number, or as `cf` sends it. */
export interface OptionsChange {
  loadbalancing?: RouteOptions['loadbalancing'] | null;
  hash_header?: string | null;
  hash_balance?: string | number | null;
}

const ALGORITHMS = ['round-robin', 'least-connection', 'hash'] as const;
/** What the router can name in its configuration. */
const HEADER = /^[\w-]{1,128}$/;

/** In Cloud Foundry's words; empty where all is right. @param old  what the route has */
export function optionProblems(options: unknown, old: RouteOptions = {}): string[] {
  if (!isObject(options)) return ['Options must be an object'];
  const { loadbalancing, hash_header, hash_balance, ...unknown } = options;
  const names = Object.keys(unknown).map((name) => `'${name.slice(0, 60)}'`);
  if (names.length > 0) return [`Options Unknown field(s): ${names.join(', ')}`];
  const algorithm = loadbalancing === undefined ? (old.loadbalancing ?? null) : loadbalancing;
  if (algorithm !== null && !ALGORITHMS.some((one) => one === algorithm)) return [mustBeOneOf(ALGORITHMS)];
  if (algorithm === 'hash') {
    const header = hash_header === undefined ? old.hash_header : hash_header;
    return [headerProblem(header), balanceProblem(hash_balance)].filter((problem) => problem !== undefined);
  }
  return Object.entries({ header: hash_header, balance: hash_balance }).flatMap(([name, value]) =>
    isSet(value) ? [`Options Hash ${name} can only be set when loadbalancing is hash`] : [],
  );
}

function mustBeOneOf(algorithms: readonly string[]): string {
  return `Options Loadbalancing must be one of '${algorithms.join(', ')}' if present`;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '';
}

function headerProblem(header: unknown): string | undefined {
  if (!isSet(header)) return 'Options Hash header must be present when loadbalancing is set to hash';
  if (typeof header === 'string' && HEADER.test(header)) return undefined;
  return 'Options Hash header must be the name of a header: 1 to 128 letters, digits, "-" and "_"';
}

function balanceProblem(balance: unknown): string | undefined {
  if (!isSet(balance)) return undefined;
  const number = typeof balance === 'string' || typeof balance === 'number' ? Number(balance) : Number.NaN;
  if (!Number.isFinite(number)) return 'Options Hash balance must be a valid number';
  return number < 0 ? 'Options Hash balance must be greater than or equal to 0.0' : undefined;
}

/** Undefined where there are none; mistakes go to the reader. */
export function readOptions(reader: Reader, old?: RouteOptions): OptionsChange | undefined {
  const { options } = reader.body;
  if (options === undefined || options === null) return undefined;
  const problems = optionProblems(options, old);
  for (const problem of problems) reader.fail(problem);
  return problems.length === 0 ? (options as OptionsChange) : undefined;
}

/** Throws where a flag keeps users from what they ask for. */
export function requireAllowed({ flags }: Context, options: OptionsChange | undefined): void {
  if (options?.loadbalancing === 'hash' && !flags.isOn('hash_based_routing')) {
    throw unprocessable(mustBeOneOf(ALGORITHMS.slice(0, -1)));
  }
}

/** `cf` takes options for texts. */
export function mergedOptions(old: RouteOptions, change: OptionsChange): RouteOptions {
  const loadbalancing = change.loadbalancing === undefined ? old.loadbalancing : change.loadbalancing;
  if (loadbalancing === undefined || loadbalancing === null) return {};
  if (loadbalancing !== 'hash') return { loadbalancing };
  const { hash_header = old.hash_header, hash_balance = old.hash_balance } = change;
  return {
    loadbalancing,
    ...(hash_header ? { hash_header } : {}),
    ...(isSet(hash_balance) ? { hash_balance: String(hash_balance) } : {}),
  };
}
