/** Clients that say one thing to the router and another to the app behind it: both must always see the same requests. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import test from 'node:test';
import { get, backend, route, startApp, startRouter, until } from './testing.ts';

const HOST = 'Host: h.apps.test\r\n';
const SECOND = 'GET /smuggled HTTP/1.1\r\nHost: h.apps.test\r\n\r\n';
/** Behind everything, so that the connection ends when all before it is done. */
const LAST = 'GET /end HTTP/1.1\r\nHost: h.apps.test\r\nConnection: close\r\n\r\n';

/** Each with a path of its own; what may follow is a second request. */
const REQUESTS: [string, string][] = [
  [
    'length and chunked',
    `Content-Length: ${SECOND.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SECOND}`,
  ],
  ['chunked and length', `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${SECOND}\r\n0\r\n\r\n`],
  ['two lengths', `Content-Length: 0\r\nContent-Length: ${SECOND.length}\r\n\r\n${SECOND}`],
  ['a list of lengths', `Content-Length: 0, ${SECOND.length}\r\n\r\n${SECOND}`],
  ['the same length twice', `Content-Length: ${SECOND.length}\r\nContent-Length: ${SECOND.length}\r\n\r\n${SECOND}`],
  ['a length with a sign', `Content-Length: +${SECOND.length}\r\n\r\n${SECOND}`],
  ['a hexadecimal length', `Content-Length: 0x10\r\n\r\n${SECOND}`],
  ['an empty length', `Content-Length:\r\n\r\n${SECOND}`],
  ['an unknown coding', `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${SECOND}`],
  ['chunked not last', `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${SECOND}`],
  ['chunked twice', `Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SECOND}`],
  ['chunked behind a tab', `Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n${SECOND}`],
  ['chunked in capitals', `TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n${SECOND}`],
  ['a name that ends with a space', `Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${SECOND}`],
  ['a folded line', `Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${SECOND}`],
  ['a folded header', `X-Folded: one\r\n two\r\nContent-Length: 0\r\n\r\n`],
  ['lines without a carriage return', `X-One: 1\nContent-Length: 0\n\n${SECOND}`],
  ['a header within a value', `X-One: 1\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${SECOND}`],
  ['a lone carriage return', `X-One: 1\rContent-Length: 5\r\n\r\n${SECOND}`],
  ['a chunk size with more behind it', `Transfer-Encoding: chunked\r\n\r\n0;x=1\r\n\r\n${SECOND}`],
  ['a chunk size that overflows', `Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n${SECOND}`],
  ['a chunk size with a sign', `Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n${SECOND}`],
];

test('router: whatever a client says of its framing, router and app see the same requests', async () => {
  const reached: string[] = [];
  await using app = await startApp('app', (incoming, response) => {
    reached.push(`${incoming.method} ${incoming.url}`);
    // Whoever is unsure must not be trusted with both.
    assert.ok(!('content-length' in incoming.headers && 'transfer-encoding' in incoming.headers));
    incoming.resume();
    response.end('ok');
  });
  // What the app's own parser refuses was passed on in a form that is in doubt.
  const refused: string[] = [];
  app.server.on('clientError', (error, socket) => {
    if (!('code' in error && error.code === 'ECONNRESET')) refused.push(error.message);
    socket.destroy();
  });
  await using started = await startRouter();
  const { router } = started;
  const logged: string[] = [];
  router.onAccess(({ method, path, endpoint }) => {
    if (endpoint !== '') logged.push(`${method} ${path}`);
  });
  await router.apply({ routes: [route('h.apps.test', 'x')], backends: [backend('x', app.endpoint)] });
  for (const [index, [, rest]] of REQUESTS.entries()) {
    const socket = connect(router.ports().http, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    socket.write(`POST /${index} HTTP/1.1\r\n${HOST}${rest}${LAST}`);
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
  }
  await get(router, 'h.apps.test', '/last');
  const sorted = (list: string[]): string => list.toSorted().join('\n');
  await until(
    `both saw the same: ${REQUESTS.map(([name], index) => `${index} ${name}`).join(', ')}`,
    () => logged.includes('GET /last') && sorted(logged) === sorted(reached),
  ).catch((error: Error) => assert.fail(`${error.message}\nlogged\n${sorted(logged)}\nreached\n${sorted(reached)}`));
  assert.deepEqual(refused, []);
  assert.ok(reached.length > 5, 'some of them are harmless, and came through');
});

test('router: a request that names two hosts goes nowhere', async () => {
  const hosts: (string | undefined)[] = [];
  await using one = await startApp('one', (incoming, response) => {
    hosts.push(incoming.headers.host);
    response.end('one');
  });
  await using other = await startApp('other');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({
    routes: [route('one.apps.test', 'one'), route('other.apps.test', 'other')],
    backends: [backend('one', one.endpoint), backend('other', other.endpoint)],
  });
  const raw = async (text: string): Promise<string> => {
    const socket = connect(router.ports().http, '127.0.0.1');
    // Who says no more and wants no answer is told 400.
    socket.write(text);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  };
  assert.match(await raw('GET http://other.apps.test/ HTTP/1.1\r\nHost: one.apps.test\r\n\r\n'), /^HTTP\/1\.1 400/);
  assert.match(
    await raw('GET / HTTP/1.1\r\nHost: one.apps.test, other.apps.test\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 40[04]/,
  );
  assert.match(await raw('GET / HTTP/1.1\r\nHost: one.apps.test/x\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 40[04]/);
  assert.match(
    await raw('GET / HTTP/1.1\r\nHost: one.apps.test@other.apps.test\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 40[04]/,
  );
  assert.match(await raw('GET / HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 40[04]/);
  assert.deepEqual(hosts, []);
  const whole = await raw('GET http://one.apps.test/ HTTP/1.1\r\nHost: one.apps.test\r\nConnection: close\r\n\r\n');
  assert.match(whole, /^HTTP\/1\.1 200[^]*one$/);
  assert.deepEqual(hosts, ['one.apps.test']);
});
