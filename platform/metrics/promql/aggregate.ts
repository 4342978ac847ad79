/** Aggregations of a vector: `sum by (instance_id) (…)`. */
import { labelsKey, without } from './labels.ts';
import type { Grouping, Labels, Sample } from './promql.ts';

type Reduce = (values: number[], parameter: number) => number;

export const sum: Reduce = (values) => values.reduce((total, value) => total + value, 0);
const average: Reduce = (values) => sum(values, 0) / values.length;
export const variance: Reduce = (values) => {
  const mean = average(values, 0);
  return average(
    values.map((value) => (value - mean) ** 2),
    0,
  );
};

/** Between two values in proportion, as Prometheus does. */
export const quantile: Reduce = (values, share) => {
  if (share < 0) return Number.NEGATIVE_INFINITY;
  if (share > 1) return Number.POSITIVE_INFINITY;
  const sorted = values.toSorted((a, b) => a - b);
  const rank = share * (sorted.length - 1);
  const below = sorted[Math.floor(rank)] ?? Number.NaN;
  const above = sorted[Math.ceil(rank)] ?? below;
  return below + (above - below) * (rank - Math.floor(rank));
};

const REDUCTIONS: Record<string, Reduce> = {
  sum,
  avg: average,
  min: (values) => Math.min(...values),
  max: (values) => Math.max(...values),
  count: (values) => values.length,
  group: () => 1,
  stddev: (values) => Math.sqrt(variance(values, 0)),
  stdvar: variance,
  quantile,
};

/** They keep samples, rather than making one of many. */
const CHOICES = new Set(['topk', 'bottomk']);

export const AGGREGATIONS: ReadonlySet<string> = new Set([...Object.keys(REDUCTIONS), ...CHOICES]);
export const WITH_PARAMETER: ReadonlySet<string> = new Set(['topk', 'bottomk', 'quantile']);

export function aggregate(
  name: string,
  samples: Sample[],
  { grouping, parameter }: { grouping: Grouping | undefined; parameter: number },
): Sample[] {
  const groups = new Map<string, { labels: Labels; samples: Sample[] }>();
  for (const sample of samples) {
    const labels = groupLabels(sample.labels, grouping ?? { only: true, labels: [] });
    const key = labelsKey(labels);
    const group = groups.get(key);
    if (group) group.samples.push(sample);
    else groups.set(key, { labels, samples: [sample] });
  }
  if (CHOICES.has(name)) {
    const sign = name === 'topk' ? -1 : 1;
    const most = Math.max(0, Math.floor(parameter)) || 0;
    return [...groups.values()].flatMap((group) =>
      group.samples.toSorted((a, b) => sign * (a.value - b.value)).slice(0, most),
    );
  }
  const reduce = REDUCTIONS[name];
  if (reduce === undefined) return [];
  return [...groups.values()].map((group) => ({
    labels: group.labels,
    value: reduce(
      group.samples.map(({ value }) => value),
      parameter,
    ),
  }));
}

/** What tells samples apart: never their name. */
export function groupLabels(labels: Labels, { only, labels: names }: Grouping): Labels {
  if (!only) return without(labels, ['__name__', ...names]);
  return Object.fromEntries(
    names.filter((name) => labels[name] !== undefined).map((name) => [name, labels[name] ?? '']),
  );
}
