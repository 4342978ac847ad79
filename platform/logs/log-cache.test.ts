/** The log-cache API over real HTTP; the log behind it holds what the tests emit, so no cluster is needed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import type { Informers } from '../resources/informers.ts';
import { createLogCache } from './log-cache.ts';
import type { Logs } from './logs.ts';
import { openLogs } from './open.ts';

/** Stands in for a cluster without pods. */
const none = { synced: Promise.resolve(), list: () => [], onChange: () => () => undefined };
const noPods = { of: () => none, taskPods: none } as unknown as Informers;

interface LogCache extends AsyncDisposable {
  logs: Logs;
  port: number;
  get(path: string, token?: string): Promise<{ status: number; body: unknown }>;
}

async function start(): Promise<LogCache> {
  const stop = new AbortController();
  const logs = await openLogs({ informers: noPods, signal: stop.signal, log: () => undefined });
  const handler = createLogCache({
    logs,
    authorize: async (token, sourceId) => (token === 'bad' ? undefined : token === 'all' || sourceId === token),
    log: () => undefined,
  });
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    logs,
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
