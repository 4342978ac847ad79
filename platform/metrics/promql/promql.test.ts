/** PromQL by what Prometheus' documentation says of it; a series of the log cache's envelopes stands behind each query. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { MetricEnvelope, MetricMessage } from '../envelopes.ts';
import { QueryError } from './errors.ts';
import { evaluate } from './evaluate.ts';
import { parseQuery } from './parse.ts';
import { answerQuery } from './query.ts';

function envelope(source: string, seconds: number, message: MetricMessage, instance = '0'): MetricEnvelope {
  return {
    timestamp: `${seconds}500000000`.padStart(19, '0'),
    sourceId: source,
    instanceId: instance,
    tags: { 'origin.name': 'rep' },
    message,
  };
}

const gauge = (name: string, value: number): MetricMessage => ({
  type: 'GAUGE',
  metrics: { [name]: { unit: 'x', value } },
});
const counter = (total: number): MetricMessage => ({ type: 'COUNTER', name: 'requests', delta: 1, total });

/** `up.time` of two instances: 10 s apart, growing by 1 and by 3; a counter that falls to nothing once; a timer. */
const envelopes: Record<string, MetricEnvelope[]> = {
  a: [
    ...[0, 1, 2, 3, 4, 5].flatMap((index) => [
      envelope('a', 1000 + index * 10, gauge('up.time', index), '0'),
      envelope('a', 1000 + index * 10, gauge('up.time', index * 3), '1'),
    ]),
    ...[10, 20, 30, 5, 15, 25].map((total, index) => envelope('a', 1000 + index * 10, counter(total))),
    envelope('a', 1040, { type: 'TIMER', name: 'http', start: '1000000000', stop: '1250000000' }),
  ],
  b: [envelope('b', 1050, gauge('up.time', 100))],
};

function ask(query: string, more: Record<string, string> = { time: '1050' }, allowed = ['a', 'b']): Promise<unknown> {
  return answerQuery({
    verb: 'step' in more ? 'query_range' : 'query',
    query: new URLSearchParams({ query, ...more }),
    allowed: async (source) => allowed.includes(source),
    metrics: { envelopes: (source) => envelopes[source] ?? [] },
  });
}

interface Answer {
  data: { resultType: string; result: { metric: Record<string, string>; value: [number, string] }[] };
}

/** Values by instance, in order; a scalar alone. */
async function values(query: string): Promise<(number | string)[]> {
  // Of numbers alone the API is not asked: a query must name its sources.
  if (!query.includes('source_id')) {
    const value = evaluate(parseQuery(query), { at: 1_050_000, select: () => [] });
    if (value.type === 'vector') return value.samples.map((sample) => sample.value);
    return value.type === 'scalar' ? [value.value] : [];
  }
  const { data } = (await ask(query)) as Answer;
  if (data.resultType !== 'vector') return [(data.result as unknown as [number, string])[1]];
  return data.result
    .toSorted((x, y) => ((x.metric['instance_id'] ?? '') < (y.metric['instance_id'] ?? '') ? -1 : 1))
    .map(({ value }) => Number(Number(value[1]).toFixed(6)));
}

const A = 'up_time{source_id="a"}';

test('promql: selectors, labels, offset, and how long a value counts', async () => {
  assert.deepEqual(await ask('up_time{source_id="a", instance_id="1"}'), {
    status: 'success',
    data: {
      resultType: 'vector',
      result: [{ metric: { origin_name: 'rep', source_id: 'a', instance_id: '1' }, value: [1050, '15'] }],
    },
  });
  assert.deepEqual(await values(A), [5, 15]);
  assert.deepEqual(await values('{__name__="up_time", source_id="a"}'), [5, 15]);
  assert.deepEqual(await values(`${A.slice(0, -1)}, instance_id!="1"}`), [5]);
  assert.deepEqual(await values(`${A.slice(0, -1)}, instance_id=~"[1-9]"}`), [15]);
  assert.deepEqual(await values(`${A.slice(0, -1)}, instance_id!~"1|2"}`), [5]);
  assert.deepEqual(await values(`${A} offset 20s`), [3, 9]);
  assert.deepEqual(await values('http{source_id="a"}'), [250_000_000]);
  const at = async (time: string) => ((await ask(A, { time })) as Answer).data.result.length;
  assert.deepEqual([await at('999'), await at('1000'), await at('1349'), await at('1351')], [0, 2, 2, 0]);
  assert.deepEqual(await at('1970-01-01T00:17:30Z'), 2);
  assert.deepEqual(await ask(`${A.slice(0, -1)},instance_id="0"}[15s]`), {
    status: 'success',
    data: {
      resultType: 'matrix',
      result: [
        {
          metric: { origin_name: 'rep', source_id: 'a', instance_id: '0' },
          values: [
            [1040, '4'],
            [1050, '5'],
          ],
        },
      ],
    },
  });
});

test('promql: operators in their order, between numbers, vectors and both', async () => {
  assert.deepEqual(await values('7*9'), [63]);
  assert.deepEqual(await values('-2 ^ 2 + 2 ^ 3 ^ 0 * 10'), [16]);
  assert.deepEqual(await values('(1 + 2) * 3 % 5 - 0x10 / .5e1'), [0.7999999999999998]);
  assert.deepEqual(await values('1 < bool 2'), [1]);
  assert.deepEqual(await values('1 / 0'), [Infinity]);
  assert.deepEqual(await values('-Inf'), [-Infinity]);
  assert.deepEqual(await values(`${A} * 2 + 1`), [11, 31]);
  assert.deepEqual(await values(`100 - ${A}`), [95, 85]);
  assert.deepEqual(await values(`${A} > 10`), [15]);
  assert.deepEqual(await values(`${A} > bool 10`), [0, 1]);
  assert.deepEqual(await values(`10 >= ${A}`), [5]);
  assert.deepEqual(await values(`${A} / ${A}`), [1, 1]);
  assert.deepEqual(
    await values(`${A.slice(0, -1)},instance_id="0"} + ignoring (source_id) up_time{source_id="b"}`),
    [105],
  );
  assert.deepEqual(await values(`${A.slice(0, -1)},instance_id="1"} - on () up_time{source_id="b"}`), [-85]);
  assert.deepEqual(await values(`${A} and ${A} > 10`), [15]);
  assert.deepEqual(await values(`${A} unless ${A} > 10`), [5]);
  assert.deepEqual(await values(`(${A} > 10) or ${A}`), [5, 15]);
});

test('promql: aggregations', async () => {
  assert.deepEqual(await values(`sum(${A})`), [20]);
  assert.deepEqual(await values(`avg by (source_id) (${A})`), [10]);
  assert.deepEqual(await values(`max(${A}) without (instance_id)`), [15]);
  assert.deepEqual(await values(`min(${A})`), [5]);
  assert.deepEqual(await values(`count(${A})`), [2]);
  assert.deepEqual(await values(`stddev(${A})`), [5]);
  assert.deepEqual(await values(`sum by (instance_id) (${A})`), [5, 15]);
  assert.deepEqual(await values(`topk(1, ${A})`), [15]);
  assert.deepEqual(await values(`bottomk(1, ${A})`), [5]);
  assert.deepEqual(await values(`quantile(0.25, ${A})`), [7.5]);
});

test('promql: functions over ranges and of values', async () => {
  // Of the counter 10, 20, 30, 5, 15, 25 in a minute: it grew by 45, carried on to the window's edges.
  assert.deepEqual(await values('increase(requests{source_id="a"}[50s])'), [43.75]);
  assert.deepEqual(await values('rate(requests{source_id="a"}[50s])'), [0.875]);
  assert.deepEqual(await values('resets(requests{source_id="a"}[1m])'), [1]);
  assert.deepEqual(await values('changes(requests{source_id="a"}[1m])'), [5]);
  assert.deepEqual(await values('irate(requests{source_id="a"}[1m])'), [1]);
  assert.deepEqual(await values('irate(requests{source_id="a"}[1m] offset 20s)'), [0.5]);
  assert.deepEqual(await values(`avg_over_time(${A}[1m])`), [2.5, 7.5]);
  assert.deepEqual(await values(`max_over_time(${A}[25s])`), [5, 15]);
  assert.deepEqual(await values(`min_over_time(${A}[25s])`), [3, 9]);
  assert.deepEqual(await values(`sum_over_time(${A}[25s])`), [12, 36]);
  assert.deepEqual(await values(`count_over_time(${A}[1m])`), [6, 6]);
  assert.deepEqual(await values(`last_over_time(${A}[1m])`), [5, 15]);
  assert.deepEqual(await values(`quantile_over_time(0.5, ${A}[1m])`), [2.5, 7.5]);
  assert.deepEqual(await values(`idelta(${A}[1m])`), [1, 3]);
  assert.deepEqual(await values(`clamp_max(${A}, 7)`), [5, 7]);
  assert.deepEqual(await values(`clamp(${A}, 6, 7)`), [6, 7]);
  assert.deepEqual(await values(`round(${A} / 4)`), [1, 4]);
  assert.deepEqual(await values(`abs(-${A})`), [5, 15]);
  assert.deepEqual(await values(`scalar(sum(${A}))`), ['20']);
  assert.deepEqual(await values('time()'), [1050]);
  assert.deepEqual(await values('vector(3)'), [3]);
  assert.deepEqual(await values('absent(nothing{source_id="a"})'), [1]);
  assert.deepEqual(await values(`absent(${A})`), []);
});

test('promql: a range of times', async () => {
  const answer = await ask(`sum(${A})`, { start: '1000', end: '1020', step: '10s' });
  assert.deepEqual(answer, {
    status: 'success',
    data: {
      resultType: 'matrix',
      result: [
        {
          metric: {},
          values: [
            [1000, '0'],
            [1010, '4'],
            [1020, '8'],
          ],
        },
      ],
    },
  });
});

test('promql: what is no query, and what is none for here, is refused in words', async () => {
  const refused: [string, RegExp, Record<string, string>?][] = [
    ['', /parse error at char 1: unexpected "end of input"/],
    ['up_time{source_id="a"', /parse error at char 22: unexpected "end of input"/],
    ['up_time{source_id="a"} extra', /parse error at char 24: unexpected "extra"/],
    ['up_time{source_id=a}', /unexpected "a"/],
    ['a;b', /unexpected character: ";"/],
    ['nope(1)', /unknown function with name "nope"/],
    [`rate(${A})`, /expected type range vector in call to function "rate"/],
    [`sum(${A}[1m])`, /expected type instant vector/],
    [`rate(${A}[1m], 2)`, /expected 1 argument/],
    [`sum(1, 2)`, /wrong number of arguments/],
    [`${A}[5m:1m]`, /subqueries are not supported/],
    [`${A} @ 3`, /@ modifier is not supported/],
    [`${A} * on (a) group_left ${A}`, /group_left is not supported/],
    [`scalar(${A}) == 1`, /must use BOOL modifier/],
    ['1 + bool 1', /bool modifier can only be used/],
    [`${A} and 1`, /set operator "and" not allowed/],
    ['up_time{source_id=~"("}', /Not Found/],
    ['up_time{source_id="a", x=~"("}', /error parsing regexp/],
    ['{source_id="a"}', /must name a metric/],
    ['up_time', /does not request any source_ids/],
    [`up_time + ${A}`, /'up_time' does not have a 'source_id' label/],
    [`${A} + on (source_id) ${A}`, /many-to-many matching not allowed/],
    [`${'('.repeat(200)}1${')'.repeat(200)}`, /nested more than/],
    [`${'-'.repeat(20_000)}1`, /longer than/],
    [A, /cannot parse "x" to a valid Unix/, { time: 'x' }],
    [A, /cannot parse "0" to a valid step/, { start: '0', end: '1', step: '0' }],
    [A, /end timestamp must not be before start/, { start: '2', end: '1', step: '1' }],
    [A, /exceeded maximum resolution of 11000/, { start: '0', end: '20000', step: '1' }],
    [Array(60).fill(A).join(' + '), /too many samples/, { start: '0', end: '10000', step: '1' }],
    [`${A}[1m]`, /invalid expression type matrix for range query/, { start: '0', end: '1', step: '1' }],
  ];
  for (const [query, message, more] of refused) {
    await assert.rejects(ask(query, more), (error: Error) => {
      assert.ok(error instanceof QueryError, `${query}: ${error.stack}`);
      assert.match(error.message, message, query.slice(0, 100));
      return true;
    });
  }
});
