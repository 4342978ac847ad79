/** The value of a query at one time: see `promql.ts`. */
import { aggregate } from './aggregate.ts';
import { combine } from './binary.ts';
import { QueryError } from './errors.ts';
import { isRangeFunction, ofEach, overRange } from './functions.ts';
import { without } from './labels.ts';
import type { Expression, Labels, Sample, Selector, Series, Value } from './promql.ts';

/** A value counts for so long after it was measured, milliseconds. */
export const LOOK_BACK = 5 * 60_000;

export interface Evaluation {
  /** Milliseconds. */
  at: number;
  /** All points of what a selector names. */
  select(selector: Selector): Series[];
}

export function evaluate(expression: Expression, evaluation: Evaluation): Value {
  switch (expression.kind) {
    case 'number':
      return { type: 'scalar', value: expression.value };
    case 'text':
      return { type: 'string', value: expression.value };
    case 'selector':
      return select(expression, evaluation);
    case 'negative':
      return negative(evaluate(expression.of, evaluation));
    case 'call':
      return call(expression.name, expression.arguments, evaluation);
    case 'aggregate': {
      const samples = vectorOf(evaluate(expression.of, evaluation), expression.name);
      const parameter = expression.parameter && scalarOf(evaluate(expression.parameter, evaluation), expression.name);
      const { grouping } = expression;
      return { type: 'vector', samples: aggregate(expression.name, samples, { grouping, parameter: parameter ?? 0 }) };
    }
    default:
      return combine(expression, evaluate(expression.left, evaluation), evaluate(expression.right, evaluation));
  }
}

function select(selector: Selector, { at, select: read }: Evaluation): Value {
  const to = at - selector.offset;
  const { range } = selector;
  if (range !== undefined) {
    const series = read(selector)
      .map(({ labels, points }) => ({
        labels,
        points: points.filter((point) => point.at > to - range && point.at <= to),
      }))
      .filter(({ points }) => points.length > 0);
    return { type: 'matrix', series };
  }
  const samples: Sample[] = [];
  for (const { labels, points } of read(selector)) {
    const last = points.findLast((point) => point.at <= to);
    if (last !== undefined && last.at > to - LOOK_BACK) samples.push({ labels, value: last.value });
  }
  return { type: 'vector', samples };
}

function negative(value: Value): Value {
  if (value.type === 'scalar') return { type: 'scalar', value: -value.value };
  return {
    type: 'vector',
    samples: vectorOf(value, '-').map(({ labels, value: of }) => ({
      labels: without(labels, ['__name__']),
      value: -of,
    })),
  };
}

function call(name: string, given: Expression[], evaluation: Evaluation): Value {
  if (isRangeFunction(name)) return callOverRange(name, given, evaluation);
  const argument = (index: number): Value =>
    evaluate(given[index] ?? { kind: 'number', value: Number.NaN }, evaluation);
  switch (name) {
    case 'time':
      return { type: 'scalar', value: evaluation.at / 1000 };
    case 'vector':
      return { type: 'vector', samples: [{ labels: {}, value: scalarOf(argument(0), name) }] };
    case 'scalar': {
      const samples = vectorOf(argument(0), name);
      return { type: 'scalar', value: samples.length === 1 ? (samples[0]?.value ?? Number.NaN) : Number.NaN };
    }
    case 'absent': {
      const isThere = vectorOf(argument(0), name).length > 0;
      return { type: 'vector', samples: isThere ? [] : [{ labels: absentLabels(given[0]), value: 1 }] };
    }
    case 'sort':
    case 'sort_desc': {
      const sign = name === 'sort' ? 1 : -1;
      return { type: 'vector', samples: vectorOf(argument(0), name).toSorted((a, b) => sign * (a.value - b.value)) };
    }
    default: {
      const parameters = given.slice(1).map((_, index) => scalarOf(argument(index + 1), name));
      return { type: 'vector', samples: ofEach(name, vectorOf(argument(0), name), parameters) };
    }
  }
}

function callOverRange(name: string, given: Expression[], evaluation: Evaluation): Value {
  const selector = given.at(-1);
  if (selector?.kind !== 'selector' || selector.range === undefined) {
    throw new QueryError(`expected type range vector in call to function ${JSON.stringify(name)}`);
  }
  const [first] = given;
  const parameter = given.length > 1 && first !== undefined ? scalarOf(evaluate(first, evaluation), name) : 0;
  const matrix = select(selector, evaluation);
  const to = evaluation.at - selector.offset;
  const samples: Sample[] = [];
  for (const { labels, points } of matrix.type === 'matrix' ? matrix.series : []) {
    const value = overRange(name, points, { from: to - selector.range, to }, parameter);
    if (value === undefined) continue;
    samples.push({ labels: name === 'last_over_time' ? labels : without(labels, ['__name__']), value });
  }
  return { type: 'vector', samples };
}

/** What the query says that the missing series would have. */
function absentLabels(expression: Expression | undefined): Labels {
  if (expression?.kind !== 'selector') return {};
  return Object.fromEntries(expression.matchers.filter(({ op }) => op === '=').map(({ name, value }) => [name, value]));
}

function vectorOf(value: Value, where: string): Sample[] {
  if (value.type === 'vector') return value.samples;
  throw new QueryError(`expected type instant vector in ${JSON.stringify(where)}, got ${value.type}`);
}

function scalarOf(value: Value, where: string): number {
  if (value.type === 'scalar') return value.value;
  throw new QueryError(`expected type scalar in ${JSON.stringify(where)}, got ${value.type}`);
}
