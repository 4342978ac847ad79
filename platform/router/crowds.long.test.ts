/** Crowds: 8,000 idle WebSockets and then a refusal in words; slow clients; a flood of one app. Others do not suffer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import test from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { openFilesLimit } from './haproxy/process.ts';
import { backend, get, route, startApp, startRouter, until } from './testing.ts';

const PATIENCE = 120_000;
const IDLE = 8000;
const AT_ONCE = 100;

test('router: 8,000 idle WebSockets stay, whoever comes when all is full is told so, and room is room again', async (t) => {
  // Both ends of every WebSocket are in this process.
  if ((await openFilesLimit()) < 19_000) return t.skip('needs 20,000 open files');
  await using app = await startApp('app');
  await using other = await startApp('other');
  const server = new WebSocketServer({ server: app.server });
  await using started = await startRouter({ openFiles: 20_000 });
  const { router } = started;
  await router.apply({
    routes: [route('ws.apps.test', 'w'), route('other.apps.test', 'o')],
    backends: [backend('w', app.endpoint), backend('o', other.endpoint)],
  });
  const sockets: WebSocket[] = [];
  const refusals: IncomingMessage[] = [];
  const open = async (): Promise<void> => {
    const socket = new WebSocket(`ws://127.0.0.1:${router.ports().http}/`, { headers: { host: 'ws.apps.test' } });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once('open', () => {
      sockets.push(socket);
      resolve();
    });
    socket.once('unexpected-response', (_request, response: IncomingMessage) => {
      refusals.push(response.resume());
      resolve();
    });
    socket.once('error', reject);
    await promise;
  };
  while (sockets.length < IDLE && refusals.length === 0) await Promise.all(Array.from({ length: AT_ONCE }, open));
  assert.deepEqual([sockets.length, refusals.length], [IDLE, 0]);
  while (refusals.length === 0) await Promise.all(Array.from({ length: 10 }, open));
  for (const refused of refusals) {
    assert.deepEqual([refused.statusCode, refused.headers['x-cf-routererror']], [503, 'connection_limit_reached']);
  }
  for (let round = 0; round < 20; round++) assert.equal((await get(router, 'other.apps.test')).body, 'other');
  for (const socket of sockets) {
    const pong = once(socket, 'pong');
    socket.ping();
    await pong;
  }
  for (const socket of sockets.splice(0, 1000)) socket.terminate();
  await until('there is room', () => open().then(() => refusals.pop() === undefined), PATIENCE);
  for (const socket of sockets) socket.terminate();
  for (const socket of server.clients) socket.terminate();
  server.close();
});

test('router: clients that say half of a request are cut, and cost nobody anything', async () => {
  await using app = await startApp('app');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({ routes: [route('a.apps.test', 'a')], backends: [backend('a', app.endpoint)] });
  const slow = new Set<Socket>();
  const answers: string[] = [];
  for (let number = 0; number < 500; number++) {
    const socket = connect(router.ports().http, '127.0.0.1');
    slow.add(socket);
    socket.on('data', (chunk: Buffer) => answers.push(String(chunk).split('\r\n')[0] ?? ''));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => slow.delete(socket));
    socket.write('GET / HTTP/1.1\r\nHost: a.apps.test\r\n');
    const drip = setInterval(() => socket.write('X-Drip: 1\r\n'), 1000);
    socket.on('close', () => clearInterval(drip));
  }
  for (let round = 0; round < 50; round++) assert.equal((await get(router, 'a.apps.test')).body, 'app');
  await until('all of them are cut', () => slow.size === 0, PATIENCE);
  assert.deepEqual(new Set(answers), new Set(['HTTP/1.1 408 Request Time-out']));
});

test('router: a flood of an app that does not answer leaves the others as they are', async () => {
  await using stuck = await startApp('stuck', () => undefined);
  await using other = await startApp('other');
  await using started = await startRouter({ drainSeconds: 0 });
  const { router } = started;
  await router.apply({
    routes: [route('stuck.apps.test', 's'), route('other.apps.test', 'o')],
    backends: [backend('s', stuck.endpoint), backend('o', other.endpoint)],
  });
  const flood = Array.from({ length: 2000 }, () => {
    const sent = request({
      host: '127.0.0.1',
      port: router.ports().http,
      headers: { host: 'stuck.apps.test' },
      agent: false,
    });
    return sent.on('error', () => sent.destroy()).end();
  });
  await until(
    'the app has them',
    () => new Promise((resolve) => stuck.server.getConnections((_error, count) => resolve(count === flood.length))),
    PATIENCE,
  );
  for (let round = 0; round < 50; round++) assert.equal((await get(router, 'other.apps.test')).body, 'other');
  for (const sent of flood) sent.destroy();
});
