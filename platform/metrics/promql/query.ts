/** `/api/v1/query` and `/api/v1/query_range`, as the log cache and Prometheus answer them. */
import type { Metrics } from '../metrics.ts';
import { QueryError } from './errors.ts';
import { evaluate } from './evaluate.ts';
import { labelsKey, without } from './labels.ts';
import { parseQuery } from './parse.ts';
import type { Expression, Labels, Point, Selector, Series, Value } from './promql.ts';
import { selectorsOf, seriesOf, sourcesOf } from './series.ts';
import { durationOf } from './tokens.ts';

export interface QueryRequest {
  verb: 'query' | 'query_range';
  query: URLSearchParams;
  /** May the caller read this source? */
  allowed(sourceId: string): Promise<boolean>;
  metrics: Pick<Metrics, 'envelopes'>;
}

const MOST_STEPS = 11_000;
/** Looks at series, of all selectors and steps together. */
const MOST_LOOKS = 100_000;

export async function answerQuery(request: QueryRequest): Promise<unknown> {
  const expression = parseQuery(request.query.get('query') ?? '');
  const series = await readSeries(request, expression);
  const select = (selector: Selector): Series[] => series.get(selector) ?? [];
  if (request.verb === 'query') {
    const at = timeOf(request.query, 'time') ?? Math.floor(Date.now() / 1000) * 1000;
    return success(dataOf(evaluate(expression, { at, select }), at));
  }
  const { start, end, step } = rangeOf(request.query);
  if (((end - start) / step + 1) * series.size > MOST_LOOKS) {
    throw new QueryError('query processing would load too many samples into memory', {
      status: 422,
      type: 'execution',
    });
  }
  const found = new Map<string, { labels: Labels; points: Point[] }>();
  for (let at = start; at <= end; at += step) {
    const value = evaluate(expression, { at, select });
    if (value.type !== 'scalar' && value.type !== 'vector') {
      throw new QueryError(`invalid expression type ${value.type} for range query, must be scalar or instant vector`);
    }
    const samples = value.type === 'scalar' ? [{ labels: {}, value: value.value }] : value.samples;
    for (const { labels, value: of } of samples) {
      const key = labelsKey(labels);
      const known = found.get(key);
      if (known) known.points.push({ at, value: of });
      else found.set(key, { labels, points: [{ at, value: of }] });
    }
  }
  return success({ resultType: 'matrix', result: [...found.values()].map(seriesJson) });
}

/** Of each selector the sources that the caller may read; none at all is not found, as in the log cache. */
async function readSeries(
  { allowed, metrics }: QueryRequest,
  expression: Expression,
): Promise<Map<Selector, Series[]>> {
  const selectors = selectorsOf(expression);
  if (selectors.flatMap(sourcesOf).length === 0) throw new QueryError('query does not request any source_ids');
  const series = new Map<Selector, Series[]>();
  for (const selector of selectors) {
    const sources = sourcesOf(selector);
    if (sources.length === 0) throw new QueryError(`Metric '${selector.metric}' does not have a 'source_id' label.`);
    const readable: string[] = [];
    for (const source of new Set(sources)) if (await allowed(source)) readable.push(source);
    if (readable.length === 0) throw new QueryError('Not Found', { status: 404 });
    series.set(
      selector,
      seriesOf(
        selector,
        readable.flatMap((source) => metrics.envelopes(source)),
      ),
    );
  }
  return series;
}

function success(data: unknown): unknown {
  return { status: 'success', data };
}

function dataOf(value: Value, at: number): unknown {
  switch (value.type) {
    case 'scalar':
      return { resultType: 'scalar', result: pointJson({ at, value: value.value }) };
    case 'string':
      return { resultType: 'string', result: [at / 1000, value.value] };
    case 'vector':
      return {
        resultType: 'vector',
        result: value.samples.map(({ labels, value: of }) => ({
          metric: shown(labels),
          value: pointJson({ at, value: of }),
        })),
      };
    default:
      return { resultType: 'matrix', result: value.series.map(seriesJson) };
  }
}

function seriesJson({ labels, points }: Series): unknown {
  return { metric: shown(labels), values: points.map(pointJson) };
}

/** The log cache tells no names: its envelopes have them elsewhere. */
function shown(labels: Labels): Labels {
  return without(labels, ['__name__']);
}

function pointJson({ at, value }: Point): [number, string] {
  const text = Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  return [at / 1000, text];
}

function rangeOf(query: URLSearchParams): { start: number; end: number; step: number } {
  const start = timeOf(query, 'start');
  const end = timeOf(query, 'end');
  const text = query.get('step') ?? '';
  const step = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : durationOf(text);
  if (start === undefined || end === undefined) throw new QueryError('start and end must be given');
  if (step === undefined || !(step > 0)) throw new QueryError(`cannot parse ${JSON.stringify(text)} to a valid step`);
  if (end < start) throw new QueryError('end timestamp must not be before start time');
  if ((end - start) / step > MOST_STEPS) {
    throw new QueryError(`exceeded maximum resolution of ${MOST_STEPS} points per timeseries; increase the step`);
  }
  return { start, end, step };
}

/** Seconds since the epoch, or RFC 3339; in milliseconds. */
function timeOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  const at = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (!Number.isFinite(at))
    throw new QueryError(
      `couldn't parse ${name}: cannot parse ${JSON.stringify(text)} to a valid Unix or RFC3339 timestamp`,
    );
  return at;
}
