/** Operators between two values. */
import { groupLabels } from './aggregate.ts';
import { QueryError } from './errors.ts';
import { labelsKey, without } from './labels.ts';
import type { Expression, Grouping, Labels, Sample, Value } from './promql.ts';

type Binary = Extract<Expression, { kind: 'binary' }>;

const ARITHMETIC: Record<string, (a: number, b: number) => number> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
  '^': (a, b) => a ** b,
};

const COMPARISON: Record<string, (a: number, b: number) => boolean> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '>': (a, b) => a > b,
  '<=': (a, b) => a <= b,
  '>=': (a, b) => a >= b,
};

const EVERY_LABEL: Grouping = { only: false, labels: [] };

export function combine(expression: Binary, left: Value, right: Value): Value {
  const { op, bool } = expression;
  if (op === 'and' || op === 'or' || op === 'unless') return combineSets(expression, left, right);
  if (left.type === 'scalar' && right.type === 'scalar') {
    if (op in COMPARISON && !bool) throw new QueryError('comparisons between scalars must use BOOL modifier');
    return { type: 'scalar', value: calculated(op, left.value, right.value) };
  }
  if (left.type === 'vector' && right.type === 'scalar') {
    return vector(left.samples, expression, ({ value }) => [value, right.value]);
  }
  if (left.type === 'scalar' && right.type === 'vector') {
    return vector(right.samples, expression, ({ value }) => [left.value, value]);
  }
  if (left.type === 'vector' && right.type === 'vector') return combineVectors(expression, left.samples, right.samples);
  throw new QueryError(`binary expression must contain only scalar and instant vector types`);
}

function calculated(op: string, a: number, b: number): number {
  const arithmetic = ARITHMETIC[op];
  return arithmetic === undefined ? Number(COMPARISON[op]?.(a, b) ?? false) : arithmetic(a, b);
}

/** A comparison leaves samples as they are, or out; with `bool` it says 0 or 1. */
function vector(samples: Sample[], { op, bool }: Binary, operands: (sample: Sample) => [number, number]): Value {
  const filters = op in COMPARISON && !bool;
  const result: Sample[] = [];
  for (const sample of samples) {
    const value = calculated(op, ...operands(sample));
    if (!filters) result.push({ labels: without(sample.labels, ['__name__']), value });
    else if (value === 1) result.push(sample);
  }
  return { type: 'vector', samples: result };
}

function combineVectors(expression: Binary, left: Sample[], right: Sample[]): Value {
  const { op, bool, matching = EVERY_LABEL } = expression;
  const others = new Map<string, Sample>();
  for (const sample of right) {
    const key = labelsKey(groupLabels(sample.labels, matching));
    if (others.has(key)) throw manyMatches('right', sample.labels);
    others.set(key, sample);
  }
  const seen = new Set<string>();
  const result: Sample[] = [];
  for (const sample of left) {
    const labels = groupLabels(sample.labels, matching);
    const key = labelsKey(labels);
    const other = others.get(key);
    if (other === undefined) continue;
    if (seen.has(key)) throw manyMatches('left', sample.labels);
    seen.add(key);
    const value = calculated(op, sample.value, other.value);
    if (!(op in COMPARISON) || bool) result.push({ labels, value });
    else if (value === 1) result.push(sample);
  }
  return { type: 'vector', samples: result };
}

function manyMatches(side: string, labels: Labels): QueryError {
  return new QueryError(
    `found duplicate series for the match group ${JSON.stringify(labels)} on the ${side} hand-side of the operation; many-to-many matching not allowed`,
    { status: 422, type: 'execution' },
  );
}

function combineSets({ op, matching = EVERY_LABEL }: Binary, left: Value, right: Value): Value {
  if (left.type !== 'vector' || right.type !== 'vector') {
    throw new QueryError(`set operator ${JSON.stringify(op)} not allowed in binary scalar expression`);
  }
  const keyOf = ({ labels }: Sample): string => labelsKey(groupLabels(labels, matching));
  const ofRight = new Set(right.samples.map(keyOf));
  if (op === 'or') {
    const ofLeft = new Set(left.samples.map(keyOf));
    return { type: 'vector', samples: [...left.samples, ...right.samples.filter((one) => !ofLeft.has(keyOf(one)))] };
  }
  return { type: 'vector', samples: left.samples.filter((one) => ofRight.has(keyOf(one)) === (op === 'and')) };
}
