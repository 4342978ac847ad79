/** Envelopes as series: by the metric's name and the labels that a selector asks for. */
import { RE2JS } from '@bufbuild/re2';
import type { MetricEnvelope } from '../envelopes.ts';
import { QueryError } from './errors.ts';
import { labelsKey } from './labels.ts';
import type { Expression, Labels, Matcher, Selector, Series } from './promql.ts';

/** The sources that a selector names. */
export function sourcesOf({ matchers }: Selector): string[] {
  return matchers
    .filter(({ name, op }) => name === 'source_id' && (op === '=' || op === '=~'))
    .flatMap(({ op, value }) => (op === '=' ? [value] : value.split('|')));
}

export function selectorsOf(expression: Expression): Selector[] {
  switch (expression.kind) {
    case 'selector':
      return [expression];
    case 'negative':
      return selectorsOf(expression.of);
    case 'call':
      return expression.arguments.flatMap(selectorsOf);
    case 'aggregate':
      return [expression.of, ...(expression.parameter ? [expression.parameter] : [])].flatMap(selectorsOf);
    case 'binary':
      return [expression.left, expression.right].flatMap(selectorsOf);
    default:
      return [];
  }
}

export function seriesOf(selector: Selector, envelopes: MetricEnvelope[]): Series[] {
  const matches = labelTest(selector.matchers);
  const found = new Map<string, Series>();
  for (const envelope of envelopes) {
    const value = valueOf(envelope, selector.metric);
    if (value === undefined) continue;
    const labels = labelsOf(envelope);
    if (!matches(labels)) continue;
    const key = labelsKey(labels);
    let series = found.get(key);
    if (series === undefined)
      found.set(key, (series = { labels: { __name__: selector.metric, ...labels }, points: [] }));
    const at = Number(envelope.timestamp.slice(0, -9)) * 1000;
    // Of several in a second the last one counts.
    if (series.points.at(-1)?.at === at) series.points.pop();
    series.points.push({ at, value });
  }
  return [...found.values()];
}

function labelsOf({ tags, sourceId, instanceId }: MetricEnvelope): Labels {
  const labels: Record<string, string> = {};
  for (const [name, value] of Object.entries(tags)) labels[name.replaceAll(/[^A-Za-z0-9_]/g, '_')] = value;
  return { ...labels, source_id: sourceId, ...(instanceId !== '' && { instance_id: instanceId }) };
}

function valueOf({ message }: MetricEnvelope, metric: string): number | undefined {
  if (message.type === 'GAUGE') {
    return Object.entries(message.metrics).find(([name]) => sanitized(name) === metric)?.[1].value;
  }
  if (sanitized(message.name) !== metric) return undefined;
  return message.type === 'COUNTER' ? message.total : Number(BigInt(message.stop) - BigInt(message.start));
}

function sanitized(name: string): string {
  return name.replaceAll(/^[^A-Za-z_]|[^A-Za-z0-9_]/g, '_');
}

function labelTest(matchers: Matcher[]): (labels: Labels) => boolean {
  const tests = matchers.map(({ name, op, value }) => {
    if (op === '=' || op === '!=') return (labels: Labels) => ((labels[name] ?? '') === value) === (op === '=');
    const pattern = compiled(value);
    return (labels: Labels) => pattern.testExact(labels[name] ?? '') === (op === '=~');
  });
  return (labels) => tests.every((test) => test(labels));
}

function compiled(pattern: string): RE2JS {
  try {
    return new RE2JS(pattern);
  } catch (error) {
    throw new QueryError(`error parsing regexp: ${(error as Error).message}`);
  }
}
