/** Requests of a route with a service: to the service, back with the router's signature, and never past it. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import type { Router, RouteService, RoutingTable, SignatureKey } from '../model.ts';
import { type Answer, type App, backend, get, route, startApp, startRouter, type TestRouter } from '../testing.ts';

const HOST = 'web.apps.test';
const KEYS: SignatureKey[] = [1, 2].map((byte) => ({ id: `k${byte}`, key: Buffer.alloc(32, byte).toString('base64') }));
const [FIRST, SECOND] = KEYS as [SignatureKey, SignatureKey];

let started: TestRouter;
let router: Router;
let app: App;
let service: Server;
/** What came to the app, and to the service. */
let reached: IncomingMessage[] = [];
let passed: IncomingMessage[] = [];
/** What the service does with a request; default: it sends it on as it was told. */
let handle: (incoming: IncomingMessage) => { url?: string; headers?: Record<string, string> } | undefined;

before(async () => {
  started = await startRouter();
  router = started.router;
  app = await startApp('app', (incoming, response) => {
    reached.push(incoming);
    response.end('app');
  });
  const { certificate: cert, key } = await started.issue('service.test');
  service = createServer({ cert, key }, (incoming, response) => {
    passed.push(incoming);
    const back = handle(incoming);
    if (back === undefined) {
      response.writeHead(401).end('not you');
      return;
    }
    const url = new URL(back.url ?? String(incoming.headers['x-cf-forwarded-url']));
    const sent = request({
      host: '127.0.0.1',
      port: router.ports().http,
      method: incoming.method ?? 'GET',
      path: url.pathname + url.search,
      headers: { ...incoming.headers, ...back.headers, host: url.host },
      agent: false,
    });
    sent.on('error', () => response.destroy());
    sent.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 0, { ...answer.headers, 'x-through': 'service' });
      answer.pipe(response);
    });
    incoming.pipe(sent);
  });
  await once(service.listen(0, '127.0.0.1'), 'listening');
});
after(async () => {
  service?.closeAllConnections();
  service?.close();
  await app?.[Symbol.asyncDispose]();
  await started?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  reached = [];
  passed = [];
  handle = () => ({});
  await router.apply(table());
});

const serviceUrl = (host = 'service.test', path = '/check?of=web') =>
  `https://${host}:${(service.address() as AddressInfo).port}${path}`;

function table(change: Partial<RouteService> = {}, keys: SignatureKey[] = [FIRST]): RoutingTable {
  return {
    routes: [{ ...route(HOST, 'app'), service: 'guard' }, route('free.apps.test', 'app')],
    backends: [backend('app', app.endpoint)],
    services: [{ name: 'guard', url: serviceUrl(), addresses: ['127.0.0.1'], ...change }],
    signatureKeys: keys,
  };
}

/** As the router makes them. */
function signed(url: string, { key = FIRST, age = 0 } = {}): Record<string, string> {
  const { hostname, pathname, search } = new URL(url);
  const at = Math.floor(Date.now() / 1000) - age;
  const text = `${at}|${hostname}|${decodeURIComponent(pathname + search)}`;
  const signature = createHmac('sha256', Buffer.from(key.key, 'base64')).update(text).digest('hex');
  return {
    'x-cf-forwarded-url': url,
    'x-cf-proxy-signature': signature,
    'x-cf-proxy-metadata': `${key.id}.${at}`,
  };
}

test('a request goes to the service, and to the app when it comes back', async () => {
  const answer = await get(router, HOST, '/a%20b?c=%7e', { method: 'POST', body: 'hello', headers: { 'x-own': '1' } });
  assert.deepEqual([answer.status, answer.body, answer.headers['x-through']], [200, 'app', 'service']);
  const [there] = passed;
  assert.equal(there?.url, '/check?of=web');
  assert.equal(there?.headers.host, new URL(serviceUrl()).host);
  assert.equal(there?.headers['x-cf-forwarded-url'], `https://${HOST}:${router.ports().https}/a%20b?c=%7e`);
  assert.match(String(there?.headers['x-cf-proxy-signature']), /^[0-9a-f]{64}$/);
  assert.match(String(there?.headers['x-cf-proxy-metadata']), /^k1\.\d+$/);
  assert.equal(there?.headers['x-forwarded-proto'], 'http');
  assert.equal(reached.length, 1);
  const [here] = reached;
  assert.equal(here?.url, '/a%20b?c=%7e');
  assert.equal(here?.headers['x-own'], '1');
  const cf = Object.keys(here?.headers ?? {}).filter((name) => name.startsWith('x-cf-'));
  assert.deepEqual(cf, []);
});

test('the service answers for itself, and its own failures stay its own', async () => {
  handle = () => undefined;
  const refused = await get(router, HOST);
  assert.deepEqual([refused.status, refused.body], [401, 'not you']);
  assert.equal(reached.length, 0);
});

test('what was seen at the client stays what the app is told', async () => {
  await get(router, HOST, '/', { headers: { 'x-forwarded-proto': 'gopher' } });
  assert.equal(passed[0]?.headers['x-forwarded-proto'], 'http', 'of a client it is not believed');
  handle = () => ({ headers: { 'x-forwarded-proto': 'https' } });
  await get(router, HOST);
  assert.equal(reached.at(-1)?.headers['x-forwarded-proto'], 'https', 'a service that was asked by TLS says so');
});

test('a signature opens its own URL for a minute, and nothing else', async () => {
  const url = `https://${HOST}/x?y=1`;
  const ask = (headers: Record<string, string>, path = '/x?y=1', host = HOST): Promise<Answer> =>
    get(router, host, path, { headers });
  const refusal = '400 Bad Request: Failed to validate Route Service Signature.\n';
  for (const [what, headers, path] of [
    ['another path', signed(url), '/z'],
    ['another query', signed(url), '/x?y=2'],
    ['another host', signed(`https://other.apps.test/x?y=1`), '/x?y=1'],
    ['too old', signed(url, { age: 62 }), '/x?y=1'],
    ['of tomorrow', signed(url, { age: -3600 }), '/x?y=1'],
    ['another key', signed(url, { key: { ...FIRST, key: SECOND.key } }), '/x?y=1'],
    ['an unknown key', signed(url, { key: SECOND }), '/x?y=1'],
    ['the name of the current key', { ...signed(url), 'x-cf-proxy-metadata': '.current.1' }, '/x?y=1'],
    ['no metadata', { ...signed(url), 'x-cf-proxy-metadata': '' }, '/x?y=1'],
    ['another time', { ...signed(url), 'x-cf-proxy-metadata': `k1.${Math.floor(Date.now() / 1000) + 2}` }, '/x?y=1'],
    ['no time', { ...signed(url), 'x-cf-proxy-metadata': 'k1.now' }, '/x?y=1'],
    ['nonsense', { 'x-cf-proxy-signature': 'x', 'x-cf-proxy-metadata': 'y' }, '/x?y=1'],
  ] as const) {
    const answer = await ask(headers, path);
    assert.deepEqual([answer.status, answer.body], [400, refusal], what);
  }
  assert.equal(passed.length + reached.length, 0);
  assert.equal((await ask(signed(url, { age: 30 }))).body, 'app');
  assert.equal((await ask(signed(`https://${HOST}/%7e?y=%20`), '/~?y=%20')).body, 'app', 'written in another way');
  assert.equal(passed.length, 0);
  // Metadata alone, and a URL, are nothing: the service is asked.
  await ask({ 'x-cf-proxy-metadata': signed(url)['x-cf-proxy-metadata'] ?? '', 'x-cf-forwarded-url': url });
  assert.equal(passed.length, 1);
  assert.equal(passed[0]?.headers['x-cf-forwarded-url'], `https://${HOST}:${router.ports().https}/x?y=1`);
});

test('nobody is signed what could be read as another URL', async () => {
  const { routes, ...rest } = table();
  const wild = { ...route('*.theirs.test', 'app'), wide: true, service: 'guard' };
  await router.apply({ ...rest, routes: [...routes, wild] });
  for (const host of [`${HOST}/x.theirs.test`, `${HOST}|x.theirs.test`, `${HOST}%2fx.theirs.test`]) {
    assert.equal((await get(router, host, '/y')).status, 400, host);
  }
  assert.equal(passed.length + reached.length, 0);
  await get(router, 'x.theirs.test', '/y');
  assert.equal(passed.length, 1);
});

test('a key that signs no more is known until it is gone', async () => {
  const url = `https://${HOST}/`;
  await router.apply(table({}, [SECOND, FIRST]));
  await get(router, HOST);
  assert.match(String(passed[0]?.headers['x-cf-proxy-metadata']), /^k2\./);
  assert.equal((await get(router, HOST, '/', { headers: signed(url) })).body, 'app');
  await router.apply(table({}, [SECOND]));
  assert.equal((await get(router, HOST, '/', { headers: signed(url) })).status, 400);
  assert.equal((await get(router, HOST)).body, 'app');
});

test('nothing reaches the app past a service that is not there', async () => {
  const closed = await startApp('closed');
  const { port } = closed;
  await closed[Symbol.asyncDispose]();
  const page = /^502 Bad Gateway: the route service of this route cannot be reached\.\n$/;
  for (const [what, wanted] of [
    ['nobody listens', table({ url: `https://service.test:${port}/` })],
    ['no address', table({ addresses: [] })],
    ['a certificate of another name', table({ url: serviceUrl('other.test') })],
    ['no key', table({}, [])],
  ] as const) {
    await router.apply(wanted);
    const answer = await get(router, HOST);
    assert.equal(answer.status, 502, what);
    assert.match(answer.body, page, what);
    assert.equal(answer.headers['x-cf-routererror'], 'endpoint_failure');
  }
  handle = (incoming) => {
    incoming.socket.destroy();
    return undefined;
  };
  await router.apply(table());
  const cut = await get(router, HOST, '/', { method: 'POST', body: 'x' });
  assert.deepEqual([cut.status, passed.length], [502, 1], 'what it took is asked once');
  assert.equal(reached.length, 0);
});

test('a route without a service passes on what the router has said, and nothing that others say', async () => {
  const ask = (headers: Record<string, string>) => get(router, 'free.apps.test', '/', { headers });
  const seen = () =>
    Object.keys(reached.at(-1)?.headers ?? {})
      .filter((name) => /^x[-_]cf/.test(name))
      .sort();
  const genuine = signed(`https://${HOST}/x?y=1`);
  await ask(genuine);
  assert.deepEqual(seen(), Object.keys(genuine).sort());
  await ask({ ...genuine, 'x-cf-forwarded-url': 'https://elsewhere.example.com/' });
  assert.deepEqual(seen(), []);
  await ask({ X_CF_Forwarded_Url: 'https://elsewhere.example.com/', 'x-cf_proxy-signature': 'x' });
  assert.deepEqual(seen(), []);
  assert.equal(passed.length, 0);
});

test('a service that is an app here is reached through the router', async () => {
  await using guard = await startApp('guard', (incoming, response) => {
    const url = new URL(String(incoming.headers['x-cf-forwarded-url']));
    const headers = { ...incoming.headers, host: url.host };
    const port = router.ports().http;
    request({ host: '127.0.0.1', port, path: url.pathname, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, { 'x-through': 'guard' });
      answer.pipe(response);
    }).end();
  });
  const { routes, backends, ...rest } = table({ url: `https://guard.apps.test:${router.ports().https}/` });
  await router.apply({
    ...rest,
    routes: [...routes, route('guard.apps.test', 'app-2')],
    backends: [...backends, backend('app-2', guard.endpoint)],
  });
  const answer = await get(router, HOST, '/x');
  assert.deepEqual([answer.status, answer.body, answer.headers['x-through']], [200, 'app', 'guard']);
});

test('WebSockets go through a service too', async () => {
  const sockets = new WebSocketServer({ noServer: true });
  app.server.on('upgrade', (incoming, socket, head) => {
    sockets.handleUpgrade(incoming, socket, head, (opened) => {
      opened.on('message', (data: Buffer) => opened.send(`app heard ${String(data)}`));
    });
  });
  service.on('upgrade', (incoming, socket, head) => {
    const back = new WebSocket(`ws://127.0.0.1:${router.ports().http}/socket`, {
      headers: {
        host: HOST,
        ...Object.fromEntries(Object.entries(incoming.headers).filter(([name]) => name.startsWith('x-cf-'))),
      },
    });
    back.once('open', () =>
      sockets.handleUpgrade(incoming, socket, head, (opened) => {
        opened.on('message', (data: Buffer) => back.send(`through ${String(data)}`));
        back.on('message', (data: Buffer) => opened.send(String(data)));
      }),
    );
  });
  const client = new WebSocket(`ws://127.0.0.1:${router.ports().http}/socket`, { headers: { host: HOST } });
  await once(client, 'open');
  client.send('hello');
  const [heard] = (await once(client, 'message')) as [Buffer];
  assert.equal(String(heard), 'app heard through hello');
  client.terminate();
  for (const socket of sockets.clients) socket.terminate();
});

test('a route is bound and unbound without a reload, and one that runs is taken over', async () => {
  const { services: _services, routes, ...rest } = table();
  await router.apply({ ...rest, routes: routes.map(({ service: _service, ...free }) => free) });
  assert.equal((await get(router, HOST)).headers['x-through'], undefined);
  await router.apply(table());
  assert.equal((await get(router, HOST)).headers['x-through'], 'service');
  assert.equal(router.status().reloads, 0);
  await started.reopen();
  router = started.router;
  assert.equal((await get(router, HOST)).headers['x-through'], 'service');
  await router.apply(table());
  assert.equal((await get(router, HOST)).headers['x-through'], 'service');
  assert.equal(router.status().reloads, 0);
});
