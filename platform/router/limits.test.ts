/** Who takes too many connections is told so, and the others still come through. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import test from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { shareOut } from './haproxy/limits.ts';
import { backend, get, route, startApp, startRouter, until } from './testing.ts';

test('limits: the shares leave room for refusals and for others, however few there are', () => {
  for (const [total, ports] of [
    [100, 0],
    [100, 3],
    [9750, 100],
    [50_000, 100],
  ] as const) {
    const { http, tcp, accepted, app, address } = shareOut(total, ports);
    assert.equal(http + tcp, total);
    assert.ok(app < address && address < accepted && accepted < http, `${total} ${ports}`);
    assert.equal(tcp > 0, ports > 0);
  }
  // What 20,000 open files are enough for.
  assert.ok(shareOut(9750, 100).app > 8000);
});

/** From an address of its own, as a client of another host would be. */
function getFrom(address: string, port: number, host: string): Promise<number> {
  const sent = request({ host: '127.0.0.1', port, localAddress: address, headers: { host }, agent: false }).end();
  return new Promise((resolve, reject) => {
    sent.once('error', reject);
    sent.once('response', (response: IncomingMessage) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
  });
}

test('limits: idle WebSockets fill an app’s share, the next one is refused with a page, other apps go on', async () => {
  await using app = await startApp('app');
  await using other = await startApp('other');
  const server = new WebSocketServer({ server: app.server });
  // 100 connections: the least that there is.
  await using started = await startRouter({ openFiles: 512 });
  const { router } = started;
  const limits = shareOut(Math.floor((512 - 300 - 2) / 2), 0);
  await router.apply({
    routes: [route('ws.apps.test', 'w'), route('other.apps.test', 'o')],
    backends: [backend('w', app.endpoint), backend('o', other.endpoint)],
  });
  const sockets: WebSocket[] = [];
  /** Undefined when it is open, else the answer. */
  const open = async (): Promise<IncomingMessage | undefined> => {
    const socket = new WebSocket(`ws://127.0.0.1:${router.ports().http}/`, { headers: { host: 'ws.apps.test' } });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage | undefined>();
    socket.once('open', () => resolve(undefined));
    socket.once('unexpected-response', (_request, response: IncomingMessage) => resolve(response));
    socket.once('error', reject);
    const refused = await promise;
    if (refused === undefined) sockets.push(socket);
    return refused;
  };
  let refused: IncomingMessage | undefined;
  while (refused === undefined && sockets.length <= limits.http) refused = await open();
  assert.ok(Math.abs(sockets.length - limits.app) <= 1, `${sockets.length} of ${limits.app}`);
  assert.ok(refused);
  assert.deepEqual([refused.statusCode, refused.headers['x-cf-routererror']], [503, 'connection_limit_reached']);
  assert.match(
    String((await refused.toArray())[0]),
    /^503 Service Unavailable: the application has as many connections/,
  );
  for (let round = 0; round < 5; round++) assert.equal((await get(router, 'other.apps.test')).body, 'other');
  assert.equal(
    sockets.every(({ readyState }) => readyState === WebSocket.OPEN),
    true,
  );
  // Room is room again.
  for (const socket of sockets.splice(0, 10)) {
    socket.close();
    await once(socket, 'close');
  }
  await until('there is room', async () => (await open()) === undefined);
  for (const socket of sockets) socket.terminate();
  for (const socket of server.clients) socket.terminate();
  server.close();
});

test('limits: one address that says nothing on all its connections keeps nobody else out', async () => {
  await using app = await startApp('app');
  await using started = await startRouter({ openFiles: 512 });
  const { router } = started;
  await router.apply({ routes: [route('a.apps.test', 'a')], backends: [backend('a', app.endpoint)] });
  const { http } = router.ports();
  const silent = new Set<Socket>();
  let cut = 0;
  for (let number = 0; number < 200; number++) {
    const socket = connect(http, '127.0.0.1');
    silent.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      silent.delete(socket);
      cut++;
    });
    socket.write('GET / HTTP/1.1\r\nX-Never: ');
  }
  await until('the rest is cut', () => cut >= 90);
  for (let round = 0; round < 5; round++) assert.equal(await getFrom('127.0.0.2', http, 'a.apps.test'), 200);
  for (const socket of silent) socket.destroy();
});
