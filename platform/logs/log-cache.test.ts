/** The log-cache API over real HTTP; the log behind it holds what the tests emit, so no cluster is needed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import type { Informers } from '../resources/informers.ts';
import { EnvelopeRings, type MetricMessage } from '../metrics/envelopes.ts';
import { CATALOGUE } from '../metrics/catalogue.ts';
import { createLogCache } from './log-cache.ts';
import type { Logs } from './logs.ts';
import { openLogs } from './open.ts';

/** Stands in for a cluster without pods. */
const none = { synced: Promise.resolve(), list: () => [], byIndex: () => [], onChange: () => () => undefined };
const noPods = { of: () => none, taskPods: none } as unknown as Informers;

interface LogCache extends AsyncDisposable {
  logs: Logs;
  rings: EnvelopeRings;
  port: number;
  get(path: string, token?: string): Promise<{ status: number; body: unknown }>;
}

async function start(): Promise<LogCache> {
  const stop = new AbortController();
  const logs = await openLogs({ informers: noPods, signal: stop.signal, log: () => undefined });
  const rings = new EnvelopeRings();
  const handler = createLogCache({
    logs,
    metrics: {
      envelopes: (sourceId) => rings.of(sourceId),
      sources: () => rings.sources(),
      families: () => [{ ...CATALOGUE.apps, samples: [{ labels: ['started'], value: 1 }] }],
    },
    authorize: async (token, sourceId) => (token === 'bad' ? undefined : token === 'all' || sourceId === token),
    log: () => undefined,
  });
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    logs,
    rings,
    port,
    async get(path, token = 'app') {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        headers: { authorization: `bearer ${token}` },
      });
      return { status: response.status, body: await response.json() };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await logs.close();
    },
  };
}

const batch = (body: unknown): { timestamp: string; log: { payload: string } }[] =>
  (body as { envelopes: { batch: { timestamp: string; log: { payload: string } }[] } }).envelopes.batch;
const texts = (body: unknown): string[] => batch(body).map(({ log }) => Buffer.from(log.payload, 'base64').toString());

test("log-cache: reads in the gateway's own JSON, as cf asks", async () => {
  await using cache = await start();
  cache.logs.emit({ sourceId: 'app', sourceType: 'STG', instanceId: '1', type: 'ERR', message: 'one', at: 1000 });
  for (const [index, message] of ['two', 'three'].entries()) {
    cache.logs.emit({ sourceId: 'app', sourceType: 'API', message, at: 2000 + index });
  }
  const query = 'descending=true&envelope_types=LOG&limit=1000&start_time=-6795364578871345152';
  const newest = await cache.get(`/api/v1/read/app?${query}`);
  assert.deepEqual(texts(newest.body), ['three', 'two', 'one']);
  assert.deepEqual(batch(newest.body)[2], {
    timestamp: '1000000000',
    source_id: 'app',
    instance_id: '1',
    deprecated_tags: {},
    tags: { source_type: 'STG', instance_id: '1' },
    log: { payload: Buffer.from('one').toString('base64'), type: 'ERR' },
  });
  assert.deepEqual(texts((await cache.get('/api/v1/read/app?start_time=2000000000')).body), ['two', 'three']);
  assert.deepEqual(texts((await cache.get('/api/v1/read/app?end_time=2000000000')).body), ['one']);
  assert.deepEqual(texts((await cache.get('/api/v1/read/app?limit=1')).body), ['one']);
  assert.deepEqual(texts((await cache.get('/api/v1/read/app?envelope_types=GAUGE')).body), []);
  assert.deepEqual(texts((await cache.get('/api/v1/read/none', 'all')).body), []);
  assert.deepEqual((await cache.get('/api/v1/meta')).body, {
    meta: { app: { count: '3', expired: '0', oldestTimestamp: '1000000000', newestTimestamp: '2001000000' } },
  });
});

test('log-cache: who may not, or asks for nonsense, gets an error that says so', async () => {
  await using cache = await start();
  cache.logs.emit({ sourceId: 'app', sourceType: 'API', message: 'secret' });
  const status = async (path: string, token?: string): Promise<number> => (await cache.get(path, token)).status;
  assert.equal((await fetch(`http://127.0.0.1:${cache.port}/api/v1/read/app`)).status, 401);
  const info = await fetch(`http://127.0.0.1:${cache.port}/api/v1/info`);
  assert.equal(((await info.json()) as { version: string }).version, '3.0.0', 'clients choose their paths by it');
  assert.equal((await fetch(`http://127.0.0.1:${cache.port}/v1/info`)).status, 200, 'the path of older clients');
  assert.equal(await status('/api/v1/read/app', 'bad'), 401);
  assert.equal(await status('/api/v1/read/app', 'other'), 404);
  assert.equal(await status('/api/v1/follow/app', 'other'), 404);
  assert.deepEqual((await cache.get('/api/v1/meta', 'other')).body, { meta: {} });
  const queries = [
    'limit=1001',
    'limit=x',
    'start_time=x',
    'start_time=2&end_time=1',
    'envelope_types=X',
    'descending=2',
  ];
  for (const query of queries) assert.equal(await status(`/api/v1/read/app?${query}`), 400, query);
  for (const path of ['/', '/api/v1', '/api/v1/read', '/api/v1/read/', '/api/v1/read/%zz', '/api/v1/read/app/x']) {
    assert.equal(await status(path), 404, path);
  }
});

test('log-cache: follow joins what is kept and what comes, with no gap and nothing twice', async () => {
  await using cache = await start();
  const emit = (from: number, to: number): void => {
    for (let index = from; index < to; index++) {
      cache.logs.emit({ sourceId: 'app', sourceType: 'API', message: `line ${index}` });
    }
  };
  emit(0, 500);
  const sent = request({
    port: cache.port,
    host: '127.0.0.1',
    path: '/api/v1/follow/app?start_time=0',
    headers: { authorization: 'bearer app' },
  });
  sent.end();
  emit(500, 600);
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  assert.equal(response.headers['content-type'], 'application/x-ndjson');
  emit(600, 900);
  let text = '';
  const lines: string[] = [];
  const times: string[] = [];
  for await (const chunk of response) {
    text += String(chunk);
    const complete = text.split('\n');
    text = complete.pop() ?? '';
    for (const line of complete.filter((entry) => entry !== '')) {
      const envelope = JSON.parse(line) as { timestamp: string; log: { payload: string } };
      lines.push(Buffer.from(envelope.log.payload, 'base64').toString());
      times.push(envelope.timestamp);
    }
    if (lines.length === 600) emit(900, 1000);
    if (lines.length >= 900 && times.length === 900) emit(900, 1000);
    if (lines.includes('line 999')) break;
  }
  assert.deepEqual(
    lines,
    lines.map((_, index) => `line ${index}`),
  );
  assert.equal(lines.length, 1000);
});

function measure(cache: LogCache, sourceId: string, milliseconds: number, message: MetricMessage): void {
  const timestamp = `${milliseconds}000000`.padStart(19, '0');
  cache.rings.add({ timestamp, sourceId, instanceId: '0', tags: { origin: 'rep' }, message });
}

const cpu = (value: number): MetricMessage => ({
  type: 'GAUGE',
  metrics: { cpu: { unit: 'percentage', value }, memory: { unit: 'bytes', value: 1024 } },
});

test('log-cache: measurements beside logs, by type and by name', async () => {
  await using cache = await start();
  cache.logs.emit({ sourceId: 'app', sourceType: 'API', message: 'one', at: 1000 });
  measure(cache, 'app', 1500, cpu(12.5));
  measure(cache, 'app', 2500, { type: 'TIMER', name: 'http', start: '2400000000', stop: '2500000000' });
  measure(cache, 'app', 3000, { type: 'COUNTER', name: 'requests', delta: 1, total: 7 });
  cache.logs.emit({ sourceId: 'app', sourceType: 'API', message: 'two', at: 2000 });
  const kinds = async (query: string): Promise<string[]> =>
    batch((await cache.get(`/api/v1/read/app?${query}`)).body).map((envelope) =>
      Object.keys(envelope)
        .filter((key) => ['log', 'gauge', 'timer', 'counter'].includes(key))
        .join(),
    );
  assert.deepEqual(await kinds(''), ['log', 'gauge', 'log', 'timer', 'counter']);
  assert.deepEqual(await kinds('descending=true&limit=3'), ['counter', 'timer', 'log']);
  assert.deepEqual(await kinds('envelope_types=GAUGE&envelope_types=COUNTER'), ['gauge', 'counter']);
  assert.deepEqual(await kinds('start_time=2000000000&end_time=3000000000'), ['log', 'timer']);
  assert.deepEqual(await kinds('name_filter=%5Ehttp%24'), ['timer']);
  const named = await cache.get('/api/v1/read/app?name_filter=cp&envelope_types=ANY');
  assert.deepEqual(batch(named.body), [
    {
      timestamp: '1500000000',
      source_id: 'app',
      instance_id: '0',
      deprecated_tags: {},
      tags: { origin: 'rep' },
      gauge: { metrics: { cpu: { unit: 'percentage', value: 12.5 } } },
    },
  ]);
  assert.equal((await cache.get('/api/v1/read/app?name_filter=(')).status, 400);
  assert.deepEqual((await cache.get('/api/v1/meta')).body, {
    meta: { app: { count: '5', expired: '0', oldestTimestamp: '1000000000', newestTimestamp: '3000000000' } },
  });
});

test('log-cache: queries reach the sources that the caller may read, and no others', async () => {
  await using cache = await start();
  measure(cache, 'app', 1_000_000, cpu(12.5));
  measure(cache, 'other', 1_000_000, cpu(50));
  const query = (text: string, token?: string) =>
    cache.get(`/api/v1/query?time=1000&query=${encodeURIComponent(text)}`, token);
  const one = {
    status: 'success',
    data: {
      resultType: 'vector',
      result: [{ metric: { origin: 'rep', source_id: 'app', instance_id: '0' }, value: [1000, '12.5'] }],
    },
  };
  assert.deepEqual(await query('cpu{source_id="app"}'), { status: 200, body: one });
  assert.deepEqual((await query('cpu{source_id=~"app|other"}')).body, one, 'the other one is not theirs');
  assert.equal((await query('cpu{source_id="other"}')).status, 404);
  assert.equal((await query('cpu{source_id="other"}', 'bad')).status, 401);
  const both = (await query('sum(cpu{source_id=~"app|other"})', 'all')).body;
  assert.deepEqual(both, {
    status: 'success',
    data: { resultType: 'vector', result: [{ metric: {}, value: [1000, '62.5'] }] },
  });
  assert.deepEqual(await query('cpu'), {
    status: 400,
    body: { status: 'error', errorType: 'bad_data', error: 'query does not request any source_ids' },
  });
  const range = '/api/v1/query_range?start=995&end=1005&step=5&query=';
  assert.deepEqual((await cache.get(`${range}${encodeURIComponent('memory{source_id="app"}')}`)).body, {
    status: 'success',
    data: {
      resultType: 'matrix',
      result: [
        {
          metric: { origin: 'rep', source_id: 'app', instance_id: '0' },
          values: [
            [1000, '1024'],
            [1005, '1024'],
          ],
        },
      ],
    },
  });
});

test('log-cache: metrics are for who reads everything', async () => {
  await using cache = await start();
  const ask = (token?: string) =>
    fetch(`http://127.0.0.1:${cache.port}/metrics`, token ? { headers: { authorization: `Bearer ${token}` } } : {});
  assert.equal((await ask()).status, 401);
  assert.equal((await ask('bad')).status, 401);
  assert.equal((await ask('app')).status, 403);
  const page = await ask('all');
  assert.equal(page.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.match(
    await page.text(),
    /^# HELP sampan_apps .*\n# TYPE sampan_apps gauge\nsampan_apps\{state="started"\} 1\n$/,
  );
});

test('log-cache: a reader that does not read loses lines, is told how many, and holds up nobody', async () => {
  await using cache = await start();
  const sent = request({
    port: cache.port,
    host: '127.0.0.1',
    path: '/api/v1/follow/app',
    headers: { authorization: 'bearer app' },
  });
  sent.end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  response.pause();
  const total = 30_000;
  for (let sentLines = 0; sentLines < total; ) {
    const until = sentLines + 1000;
    for (; sentLines < until; sentLines++) {
      cache.logs.emit({ sourceId: 'app', sourceType: 'API', message: `${sentLines} `.padEnd(1000, 'x') });
    }
    // Each batch is put in order, and told, before the next.
    await cache.logs.read({ sourceId: 'app', limit: 1 });
  }
  let text = '';
  let told = 0;
  let lines = 0;
  for await (const chunk of response) {
    text += String(chunk);
    const complete = text.split('\n');
    text = complete.pop() ?? '';
    for (const line of complete.filter((entry) => entry !== '')) {
      const envelope = JSON.parse(line) as { tags: { source_type: string }; log: { payload: string } };
      if (envelope.tags.source_type !== 'LGR') lines += 1;
      else told += Number.parseInt(Buffer.from(envelope.log.payload, 'base64').toString(), 10);
    }
    if (lines + told >= total) break;
  }
  assert.equal(lines + told, total);
  assert.ok(told > 0, 'some were dropped');
});
