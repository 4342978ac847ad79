import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { request as requestTls } from 'node:https';
import { connect } from 'node:net';
import test from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import type { AccessRecord } from './model.ts';
import { routeMatcher } from './route-match.ts';
import { backend, get, route, startApp, startRouter, until } from './testing.ts';

test('router: the longest path wins, whole segments only, an exact host before a wildcard', async () => {
  await using root = await startApp('root');
  await using a = await startApp('a');
  await using ab = await startApp('ab');
  await using wild = await startApp('wild');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({
    routes: [
      route('x.apps.test', 'root'),
      route('x.apps.test', 'a', '/a'),
      route('x.apps.test', 'ab', '/a/b;v=1'),
      route('deep.apps.test', 'a', '/only'),
      route('*.apps.test', 'wild'),
      route('*.apps.test', 'ab', '/wild/path'),
    ],
    backends: [
      backend('root', root.endpoint),
      backend('a', a.endpoint),
      backend('ab', ab.endpoint),
      backend('wild', wild.endpoint),
    ],
  });
  const expected: [string, string, string][] = [
    ['x.apps.test', '/', 'root'],
    ['x.apps.test', '/a', 'a'],
    ['x.apps.test', '/a?q=1', 'a'],
    ['x.apps.test', '/a/', 'a'],
    ['x.apps.test', '/ab', 'root'],
    ['x.apps.test', '/a/b', 'a'],
    ['x.apps.test', '/a/b;v=1/c', 'ab'],
    ['X.Apps.Test:8080', '/a', 'a'],
    ['deep.apps.test', '/only', 'a'],
    ['deep.apps.test', '/other', 'wild'],
    ['other.apps.test', '/', 'wild'],
    ['other.apps.test', '/wild/path/x', 'ab'],
  ];
  for (const [host, path, name] of expected) {
    assert.deepEqual([host, path, (await get(router, host, path)).body], [host, path, name]);
  }
  assert.equal((await get(router, 'apps.test')).status, 404);
  assert.equal((await get(router, 'a.b.apps.test')).status, 404);
  // Changed, and taken away again.
  await router.apply({
    routes: [route('x.apps.test', 'root'), route('x.apps.test', 'root', '/a')],
    backends: [backend('root', root.endpoint)],
  });
  assert.equal((await get(router, 'x.apps.test', '/a/b;v=1')).body, 'root');
  assert.equal((await get(router, 'other.apps.test')).status, 404);
  assert.equal(router.status().routes, 2);
});

test('router: a wide wildcard stands for any number of labels, and the fewest count first', async () => {
  const names = ['one', 'wide', 'near', 'deep', 'exact'];
  const apps = await Promise.all(names.map((name) => startApp(name)));
  await using started = await startRouter();
  const { router } = started;
  const wide = (host: string, name: string, path?: string) => ({ ...route(host, name, path), wide: true });
  const table = {
    routes: [
      route('*.one.test', 'one'),
      wide('*.wide.test', 'wide'),
      wide('*.near.wide.test', 'near'),
      wide('*.deep.near.wide.test', 'deep', '/deep'),
      route('a.b.wide.test', 'exact', '/exact'),
    ],
    backends: apps.map(({ endpoint }) => backend(endpoint.name, endpoint)),
  };
  await router.apply(table);
  const match = routeMatcher(table);
  for (const [host, path, expected] of [
    ['a.one.test', '/', 'one'],
    ['a.b.one.test', '/', undefined],
    ['a.wide.test', '/', 'wide'],
    ['a.b.c.d.e.f.g.h.i.j.wide.test', '/', 'wide'],
    ['wide.test', '/', undefined],
    ['awide.test', '/', undefined],
    ['a.near.wide.test', '/', 'near'],
    ['a.b.near.wide.test', '/', 'near'],
    ['near.wide.test', '/', 'wide'],
    ['a.deep.near.wide.test', '/deep/er', 'deep'],
    ['a.b.deep.near.wide.test', '/deep', 'deep'],
    ['a.deep.near.wide.test', '/deeper', 'near'],
    ['a.b.wide.test', '/exact', 'exact'],
    ['a.b.wide.test', '/', 'wide'],
  ] as const) {
    const { status, body } = await get(router, host, path);
    assert.equal(status === 404 ? undefined : body, expected, `${host}${path}`);
    assert.equal(match(host, path)?.backend, expected, `the matcher: ${host}${path}`);
  }
  for (const app of apps) await app[Symbol.asyncDispose]();
});

test('router: what the app is told of the request, and what a client cannot forge', async () => {
  await using app = await startApp('echo', (incoming, response) => response.end(JSON.stringify(incoming.headers)));
  await using started = await startRouter();
  const { router } = started;
  await router.apply({ routes: [route('h.apps.test', 'echo')], backends: [backend('echo', app.endpoint)] });
  const answer = await get(router, 'h.apps.test', '/', {
    headers: {
      'x-forwarded-for': '10.1.1.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil',
      'x-vcap-request-id': 'forged',
      'x-request-id': 'mine',
      proxy: 'http://evil',
    },
  });
  const seen = JSON.parse(answer.body) as Record<string, string>;
  assert.equal(seen['x-forwarded-for'], '10.1.1.1, 127.0.0.1');
  assert.equal(seen['x-forwarded-proto'], 'http');
  assert.equal(seen['x-forwarded-host'], 'h.apps.test');
  assert.equal(seen['x-forwarded-port'], String(router.ports().http));
  assert.match(seen['x-vcap-request-id'] ?? '', /^[0-9a-f-]{36}$/);
  assert.equal(seen['x-request-id'], 'mine');
  assert.equal(seen['proxy'], undefined);
  assert.equal(answer.headers['x-vcap-request-id'], seen['x-vcap-request-id']);
});

test('router: two framings or two hosts in one request are refused', async () => {
  await using app = await startApp('x');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({ routes: [route('h.apps.test', 'x')], backends: [backend('x', app.endpoint)] });
  const raw = async (text: string): Promise<string> => {
    const socket = connect(router.ports().http, '127.0.0.1');
    socket.end(text);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  };
  assert.match(await raw('GET / HTTP/1.1\r\nHost: h.apps.test\r\nHost: other\r\n\r\n'), /^HTTP\/1\.[01] 400/);
  assert.match(
    await raw('POST / HTTP/1.1\r\nHost: h.apps.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'),
    /^HTTP\/1\.[01] 400/,
  );
  assert.match(await raw('GET / HTTP/1.1\r\nHost: h.apps.test\r\nbad header: x\r\n\r\n'), /^HTTP\/1\.[01] 400/);
});

test('router: WebSocket, HTTP/2 with TLS, keep-alive', async () => {
  await using app = await startApp('app');
  const sockets = new WebSocketServer({ server: app.server });
  sockets.on('connection', (socket) => socket.on('message', (message) => socket.send(`echo ${String(message)}`)));
  await using started = await startRouter();
  const { router, authority } = started;
  await router.apply({ routes: [route('w.apps.test', 'w')], backends: [backend('w', app.endpoint)] });

  const socket = new WebSocket(`ws://127.0.0.1:${router.ports().http}/`, { headers: { host: 'w.apps.test' } });
  await once(socket, 'open');
  socket.send('hello');
  const [message] = (await once(socket, 'message')) as [Buffer];
  assert.equal(String(message), 'echo hello');
  socket.close();
  await once(socket, 'close');
  sockets.close();

  const session = connectHttp2(`https://127.0.0.1:${router.ports().https}`, {
    ca: authority,
    servername: 'w.apps.test',
  });
  const stream = session.request({ ':path': '/', ':authority': 'w.apps.test' });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  assert.equal(headers[':status'], 200);
  stream.resume();
  await once(stream, 'end');
  session.close();

  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  for (let i = 0; i < 3; i++) {
    const sent = request({
      host: '127.0.0.1',
      port: router.ports().http,
      headers: { host: 'w.apps.test' },
      agent,
    }).end();
    const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
    ports.add(response.socket.localPort);
    response.resume();
    await once(response, 'end');
  }
  assert.equal(ports.size, 1);
  agent.destroy();
});

test('router: HTTP/2 apps, and the platform itself', async () => {
  const { createServer } = await import('node:http2');
  const grpc = createServer((_request, response) => response.end('h2 app'));
  await new Promise<void>((resolve) => grpc.listen(0, '127.0.0.1', resolve));
  const { port } = grpc.address() as import('node:net').AddressInfo;
  await using api = await startApp('api');
  try {
    await using started = await startRouter({
      system: [{ host: 'api.apps.test', address: '127.0.0.1', port: api.port }],
    });
    const { router } = started;
    assert.equal((await get(router, 'api.apps.test', '/v3')).body, 'api');
    await router.apply({
      routes: [route('g.apps.test', 'g')],
      backends: [backend('g', { name: 'g-1', ip: '127.0.0.1', port, protocol: 'http2' })],
    });
    assert.equal((await get(router, 'g.apps.test')).body, 'h2 app');
    assert.equal((await get(router, 'api.apps.test')).body, 'api');
    await assert.rejects(
      router.apply({ routes: [route('api.apps.test', 'g', '/steal')], backends: [backend('g')] }),
      /the platform's own/,
    );
  } finally {
    grpc.close();
  }
});

test('router: sessions with JSESSIONID stay with their instance', async () => {
  const login = (name: string) =>
    startApp(name, (_request, response) => {
      response.setHeader('set-cookie', 'JSESSIONID=1; Path=/');
      response.end(name);
    });
  await using one = await login('one');
  await using two = await login('two');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({
    routes: [route('s.apps.test', 's')],
    backends: [backend('s', one.endpoint, two.endpoint)],
  });
  const first = await get(router, 's.apps.test');
  const cookie = (first.headers['set-cookie'] ?? []).map((value) => value.split(';')[0]).join('; ');
  assert.match(cookie, /__VCAP_ID__=/);
  for (let i = 0; i < 6; i++) {
    assert.equal((await get(router, 's.apps.test', '/', { headers: { cookie } })).body, first.body);
  }
});

test('router: the access log has one record for each request, whatever is in its headers', async () => {
  await using app = await startApp('app');
  await using started = await startRouter();
  const { router } = started;
  const records: AccessRecord[] = [];
  router.onAccess((record) => records.push(record));
  await router.apply({ routes: [route('l.apps.test', 'l')], backends: [backend('l', app.endpoint)] });
  const hostile = '"],[\\" %s \u00e9 \t]';
  await get(router, 'l.apps.test', '/p"q?a=%22', { headers: { 'user-agent': hostile, referer: '"\\' } });
  await get(router, 'l.apps.test', '/second', { method: 'POST', body: 'four' });
  await get(router, 'nobody.apps.test', '/third');
  await until('three records are there', () => records.length === 3);
  // Threads of HAProxy tell of connections in their own order.
  const [first, second, third] = ['/p"q?a=%22', '/second', '/third'].map((path) =>
    records.find((one) => one.path === path),
  );
  assert.ok(first && second && third);
  assert.match(first?.userAgent ?? '', /^"\],\[\\" %s .*\]$/);
  assert.equal(first?.referer, '"\\');
  assert.equal(first?.backend, 'l');
  assert.equal(first?.endpoint, 'app');
  assert.equal(first?.instance, 0);
  assert.equal(first?.address, `127.0.0.1:${app.port}`);
  assert.ok(Math.abs((first?.at ?? 0) - Date.now()) < 10_000);
  assert.equal(second?.method, 'POST');
  assert.ok((second?.bytesIn ?? 0) > 4);
  assert.equal(third?.status, 404);
  assert.equal(third?.backend, '');
  assert.deepEqual(
    records.map(({ gap }) => gap),
    [0, 0, 0],
  );
  // A stranger who finds the port does not know the word.
  assert.equal(router.status().lostAccessRecords, 0);
});

test('router: a certificate is offered at once, and replaced, without a reload', async () => {
  await using app = await startApp('tls');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({ routes: [route('own.example.com', 't')], backends: [backend('t', app.endpoint)] });
  for (let round = 0; round < 2; round++) {
    const authority = await createAuthority({ commonName: `ca-${round}`, days: 1 });
    const pair = await issueCertificate(authority, {
      commonName: 'own.example.com',
      dnsNames: ['own.example.com'],
      usages: ['server'],
      days: 1,
    });
    await router.setCertificate({ name: 'own.example.com', pem: `${pair.certificate}\n${pair.key}` });
    const sent = requestTls({
      host: '127.0.0.1',
      port: router.ports().https,
      servername: 'own.example.com',
      headers: { host: 'own.example.com' },
      ca: authority.certificate,
      agent: false,
    }).end();
    const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
    assert.equal(response.statusCode, 200);
    response.resume();
    await once(response, 'end');
  }
  assert.equal(router.status().reloads, 0);
  await assert.rejects(router.setCertificate({ name: '../x', pem: '' }), { code: 'invalid' });
  await assert.rejects(router.setCertificate({ name: 'x.test', pem: 'no' }), { code: 'invalid' });
});
