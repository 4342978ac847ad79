/** Functions of values, and of the points in a range. */
import { quantile, sum, variance } from './aggregate.ts';
import { without } from './labels.ts';
import type { Point, Sample } from './promql.ts';

/** Where a range begins and ends, milliseconds. */
export interface Window {
  from: number;
  to: number;
}

type OverRange = (points: Point[], window: Window, parameter: number) => number | undefined;

const values = (points: Point[]): number[] => points.map(({ value }) => value);

const RANGE: Record<string, OverRange> = {
  rate: (points, window) => perSecond(extrapolated(points, window, true), window),
  increase: (points, window) => extrapolated(points, window, true),
  delta: (points, window) => extrapolated(points, window, false),
  irate: (points) => instantly(points, true),
  idelta: (points) => instantly(points, false),
  changes: (points) => pairs(points).filter(([a, b]) => a !== b).length,
  resets: (points) => pairs(points).filter(([a, b]) => b < a).length,
  avg_over_time: (points) => sum(values(points), 0) / points.length,
  min_over_time: (points) => Math.min(...values(points)),
  max_over_time: (points) => Math.max(...values(points)),
  sum_over_time: (points) => sum(values(points), 0),
  count_over_time: (points) => points.length,
  last_over_time: (points) => points.at(-1)?.value,
  present_over_time: () => 1,
  stddev_over_time: (points) => Math.sqrt(variance(values(points), 0)),
  stdvar_over_time: (points) => variance(values(points), 0),
  quantile_over_time: (points, _, share) => quantile(values(points), share),
};

const EACH: Record<string, (value: number, ...parameters: number[]) => number> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  exp: Math.exp,
  ln: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  sqrt: Math.sqrt,
  sgn: Math.sign,
  round: (value, to = 1) => Math.floor(value / to + 0.5) * to,
  clamp: (value, least = Number.NaN, most = Number.NaN) => Math.max(least, Math.min(most, value)),
  clamp_min: (value, least = Number.NaN) => Math.max(least, value),
  clamp_max: (value, most = Number.NaN) => Math.min(most, value),
};

/** Those of `evaluate.ts`. */
const OWN: Record<string, { least: number; most: number }> = {
  time: { least: 0, most: 0 },
  scalar: { least: 1, most: 1 },
  vector: { least: 1, most: 1 },
  absent: { least: 1, most: 1 },
  sort: { least: 1, most: 1 },
  sort_desc: { least: 1, most: 1 },
};

/** How many arguments a function takes; undefined where there is no such function. */
export function argumentsOf(name: string): { least: number; most: number } | undefined {
  if (name in OWN) return OWN[name];
  if (name in RANGE) return name === 'quantile_over_time' ? { least: 2, most: 2 } : { least: 1, most: 1 };
  if (name === 'round') return { least: 1, most: 2 };
  if (name === 'clamp') return { least: 3, most: 3 };
  if (name === 'clamp_min' || name === 'clamp_max') return { least: 2, most: 2 };
  return name in EACH ? { least: 1, most: 1 } : undefined;
}

export const isRangeFunction = (name: string): boolean => name in RANGE;

/** Undefined where there are too few points for a value. */
export function overRange(name: string, points: Point[], window: Window, parameter: number): number | undefined {
  return points.length === 0 ? undefined : RANGE[name]?.(points, window, parameter);
}

/** The name of what was measured is gone then. */
export function ofEach(name: string, samples: Sample[], parameters: number[]): Sample[] {
  const apply = EACH[name] ?? ((value: number) => value);
  return samples.map(({ labels, value }) => ({
    labels: without(labels, ['__name__']),
    value: apply(value, ...parameters),
  }));
}

function pairs(points: Point[]): [number, number][] {
  return points.slice(1).map(({ value }, index) => [points[index]?.value ?? Number.NaN, value]);
}

function instantly(points: Point[], rate: boolean): number | undefined {
  const [before, last] = points.slice(-2);
  if (before === undefined || last === undefined) return undefined;
  if (!rate) return last.value - before.value;
  const grown = last.value < before.value ? last.value : last.value - before.value;
  return grown / ((last.at - before.at) / 1000);
}

function perSecond(value: number | undefined, { from, to }: Window): number | undefined {
  return value === undefined ? undefined : value / ((to - from) / 1000);
}

/**
 * How much a series grew in the window, as Prometheus tells it: what the points show, carried on to the window's edges where they
 * are near enough, and for a counter never to before it was zero.
 */
function extrapolated(points: Point[], { from, to }: Window, counter: boolean): number | undefined {
  const [first] = points;
  const last = points.at(-1);
  if (first === undefined || last === undefined || points.length < 2 || last.at === first.at) return undefined;
  let grown = last.value - first.value;
  if (counter) for (const [a, b] of pairs(points)) if (b < a) grown += a;
  const sampled = (last.at - first.at) / 1000;
  const between = sampled / (points.length - 1);
  let toStart = (first.at - from) / 1000;
  const toEnd = (to - last.at) / 1000;
  if (counter && grown > 0 && first.value >= 0) toStart = Math.min(toStart, sampled * (first.value / grown));
  const near = between * 1.1;
  const whole = sampled + (toStart < near ? toStart : between / 2) + (toEnd < near ? toEnd : between / 2);
  return grown * (whole / sampled);
}
