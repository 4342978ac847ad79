/**
 * PromQL over the envelopes of the log cache (prometheus.io/docs/prometheus/latest/querying): the part that Cloud Foundry's tools
 * use. What a query may have: numbers, selectors with `=`, `!=`, `=~`, `!~`, ranges, `offset`; arithmetic, comparison (`bool`) and set
 * operators with `on` and `ignoring`; the aggregations and functions in `aggregate.ts` and `functions.ts`. What it may not have is
 * refused by name: subqueries, `@`, `group_left` and `group_right`.
 *
 * As in the log cache every selector names its sources (`source_id="…"`, or `=~"a|b"`). A metric's name is the gauge's, counter's or
 * timer's with `_` for what PromQL does not take; a timer's value is its duration in nanoseconds; times are of whole seconds.
 */
export interface Matcher {
  name: string;
  op: '=' | '!=' | '=~' | '!~';
  value: string;
}

export interface Selector {
  kind: 'selector';
  metric: string;
  matchers: Matcher[];
  /** Milliseconds. */
  offset: number;
  /** Milliseconds; absent: the value of the moment. */
  range?: number;
}

export type Expression =
  | { kind: 'number'; value: number }
  | { kind: 'text'; value: string }
  | Selector
  | { kind: 'negative'; of: Expression }
  | { kind: 'call'; name: string; arguments: Expression[] }
  | { kind: 'aggregate'; name: string; of: Expression; parameter?: Expression; grouping?: Grouping }
  | { kind: 'binary'; op: string; left: Expression; right: Expression; bool: boolean; matching?: Grouping };

/** `by` and `on` say which labels count, `without` and `ignoring` which do not. */
export interface Grouping {
  only: boolean;
  labels: string[];
}

export type Labels = Readonly<Record<string, string>>;

export interface Point {
  /** Milliseconds since the epoch. */
  at: number;
  value: number;
}

export interface Series {
  labels: Labels;
  /** Growing times. */
  points: Point[];
}

export interface Sample {
  labels: Labels;
  value: number;
}

export type Value =
  | { type: 'scalar'; value: number }
  | { type: 'string'; value: string }
  | { type: 'vector'; samples: Sample[] }
  | { type: 'matrix'; series: Series[] };
