/**
 * The exporter's contract: families of samples go in, a page that some collector reads comes out. `prometheus.ts` is the first;
 * another one (OpenTelemetry, StatsD) is another function of the same families.
 *
 * What can be in a page is in `catalogue.ts`, one entry for each family, and nothing else: `docs/reference/metrics.md` is made of it.
 */
export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface MetricDescription {
  /** In Prometheus' conventions (prometheus.io/docs/practices/naming): unit last, `_total` for counters. */
  name: string;
  type: MetricType;
  /** One sentence. */
  help: string;
  /** Names of its labels, in the order of the page. */
  labels: readonly string[];
}

export interface MetricFamily extends MetricDescription {
  samples: MetricSample[];
}

export interface MetricSample {
  /** A value for each label of the family, in the same order. */
  labels: string[];
  value: number | Histogram;
}

export interface Histogram {
  /** Upper bounds, growing, without infinity; and how many were observed at or below each. */
  bounds: readonly number[];
  counts: readonly number[];
  sum: number;
  count: number;
}

export interface Exporter {
  contentType: string;
  /** Deterministic: families and samples in the order given. */
  write(families: readonly MetricFamily[]): string;
}
