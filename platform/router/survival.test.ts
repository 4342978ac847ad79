import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import test from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { readProcesses } from './haproxy/process.ts';
import { filesOf } from './haproxy/config.ts';
import type { Router, RoutingTable } from './model.ts';
import { backend, get, route, startApp, startRouter, until } from './testing.ts';

/** Requests without end over kept connections, until stopped; tells how many there were and what failed. */
function load(
  router: Router,
  host: string,
  clients: number,
): { stop(): Promise<{ requests: number; failures: string[] }> } {
  let stopped = false;
  let requests = 0;
  const failures: string[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const { port } = { port: router.ports().http };
  const client = async (): Promise<void> => {
    const { request } = await import('node:http');
    while (!stopped) {
      requests++;
      await new Promise<void>((resolve) => {
        const sent = request({ host: '127.0.0.1', port, headers: { host }, agent });
        sent.on('error', (error: NodeJS.ErrnoException) => {
          failures.push(error.code ?? error.message);
          resolve();
        });
        sent.on('response', (response) => {
          if (response.statusCode !== 200) failures.push(String(response.statusCode));
          response.resume();
          response.on('close', resolve);
        });
        sent.end();
      });
    }
  };
  const running = Promise.all(Array.from({ length: clients }, client));
  return {
    async stop() {
      stopped = true;
      await running;
      agent.destroy();
      return { requests, failures };
    },
  };
}

test('router: a server that leaves finishes what it has, and gets nothing new', async () => {
  let finish: (() => void) | undefined;
  await using old = await startApp('old', (_request, response) => {
    finish = () => response.end('old');
  });
  await using fresh = await startApp('fresh');
  await using started = await startRouter({ drainSeconds: 10 });
  const { router } = started;
  const routes = [route('d.apps.test', 'd')];
  await router.apply({ routes, backends: [backend('d', old.endpoint)] });
  const slow = get(router, 'd.apps.test');
  await until('the app has the request', () => finish !== undefined);
  await router.apply({ routes, backends: [backend('d', fresh.endpoint)] });
  for (let i = 0; i < 3; i++) assert.equal((await get(router, 'd.apps.test')).body, 'fresh');
  finish?.();
  assert.equal((await slow).body, 'old');
  // Draining first, then gone from the table, then back again.
  await router.apply({ routes, backends: [backend('d', { ...fresh.endpoint, draining: true })] });
  assert.equal((await get(router, 'd.apps.test')).headers['x-cf-routererror'], 'no_endpoints');
  await router.apply({ routes, backends: [backend('d', fresh.endpoint)] });
  assert.equal((await get(router, 'd.apps.test')).body, 'fresh');
});

test('router: a WebSocket goes on while its instance is replaced', async () => {
  await using old = await startApp('old');
  await using fresh = await startApp('fresh');
  const sockets = new WebSocketServer({ server: old.server });
  sockets.on('connection', (socket) => socket.on('message', (message) => socket.send(`old ${String(message)}`)));
  await using started = await startRouter({ drainSeconds: 120 });
  const { router } = started;
  const routes = [route('w.apps.test', 'w')];
  await router.apply({ routes, backends: [backend('w', old.endpoint)] });
  const socket = new WebSocket(`ws://127.0.0.1:${router.ports().http}/`, { headers: { host: 'w.apps.test' } });
  await once(socket, 'open');
  const talk = async (word: string): Promise<string> => {
    socket.send(word);
    return String(((await once(socket, 'message')) as [Buffer])[0]);
  };
  // It is told to end, and finishes what it has for as long as it is there.
  await router.apply({ routes, backends: [backend('w', fresh.endpoint, { ...old.endpoint, draining: true })] });
  assert.equal((await get(router, 'w.apps.test')).body, 'fresh');
  assert.equal(await talk('while it ends'), 'old while it ends');
  // Gone from the table: the drain time begins.
  await router.apply({ routes, backends: [backend('w', fresh.endpoint)] });
  assert.equal(await talk('still'), 'old still');
  socket.close();
  await once(socket, 'close');
  for (const open of sockets.clients) open.terminate();
  sockets.close();
});

test('router: after the drain time a server is cut', async () => {
  await using old = await startApp('old', () => undefined);
  await using started = await startRouter({ drainSeconds: 0.3 });
  const { router } = started;
  await router.apply({ routes: [route('c.apps.test', 'c')], backends: [backend('c', old.endpoint)] });
  const slow = get(router, 'c.apps.test').catch((error: Error) => error);
  await until('the app has it', async () => {
    return await new Promise<boolean>((resolve) => old.server.getConnections((_error, count) => resolve(count > 0)));
  });
  await router.apply({ routes: [route('c.apps.test', 'c')], backends: [backend('c')] });
  const answer = await slow;
  assert.ok(answer instanceof Error || answer.status >= 500);
});

test('router: a dead instance costs no request, of whatever method', async () => {
  await using live = await startApp('live');
  await using dead = await startApp('dead');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({
    routes: [route('r.apps.test', 'r')],
    backends: [backend('r', live.endpoint, dead.endpoint, { name: 'nowhere', ip: '127.0.0.1', port: 1 })],
  });
  await dead[Symbol.asyncDispose]();
  for (let i = 0; i < 12; i++) {
    const answer = await get(router, 'r.apps.test', '/', i % 2 ? { method: 'POST', body: 'x' } : {});
    assert.deepEqual([answer.status, answer.body], [200, 'live']);
  }
});

test('router: requests wait for an only instance that restarts, and are told when it fails them', async () => {
  await using first = await startApp('first');
  await using failing = await startApp('failing', (incoming) => incoming.socket.destroy());
  await using started = await startRouter();
  const { router } = started;
  await router.apply({
    routes: [route('o.apps.test', 'o'), route('f.apps.test', 'f')],
    backends: [backend('o', first.endpoint), backend('f', failing.endpoint)],
  });
  await first[Symbol.asyncDispose]();
  const waiting = get(router, 'o.apps.test', '/', { method: 'POST', body: 'x' });
  setTimeout(() => first.server.listen(first.port, '127.0.0.1'), 600);
  assert.deepEqual((await waiting).body, 'first');
  const failed = await get(router, 'f.apps.test', '/', { method: 'POST', body: 'x' });
  assert.equal(failed.status, 502);
  assert.equal(failed.headers['x-cf-routererror'], 'endpoint_failure');
  assert.match(failed.body, /^502 Bad Gateway: the application ended the connection/);
});

test('router: a closed and reopened driver finds the same proxy, and changes nothing', async () => {
  await using app = await startApp('app');
  await using started = await startRouter();
  const table: RoutingTable = { routes: [route('a.apps.test', 'a')], backends: [backend('a', app.endpoint)] };
  await started.router.apply(table);
  const before = { pid: started.router.status().proxyPid, ports: started.router.ports() };
  const traffic = load(started.router, 'a.apps.test', 4);
  await started.reopen();
  await started.router.apply(table);
  assert.deepEqual({ pid: started.router.status().proxyPid, ports: started.router.ports() }, before);
  assert.equal(started.router.status().reloads, 0);
  assert.equal(started.router.status().routes, 1);
  // What changed meanwhile is reconciled; other options are taken over by a reload.
  await started.reopen({ system: [{ host: 'api.apps.test', address: '127.0.0.1', port: app.port }] });
  assert.equal(started.router.status().reloads, 1);
  assert.equal((await get(started.router, 'api.apps.test')).body, 'app');
  await started.router.apply(table);
  const result = await traffic.stop();
  assert.deepEqual(result.failures, []);
  assert.ok(result.requests > 10);
  await started.router.apply({ routes: [], backends: [] });
  assert.equal((await get(started.router, 'a.apps.test')).status, 404);
  const records: number[] = [];
  started.router.onAccess(({ status }) => records.push(status));
  await until('the access log is connected again', async () => {
    await get(started.router, 'a.apps.test');
    return records.length > 0;
  });
});

test('router: a killed proxy comes back and serves what it did', async () => {
  await using app = await startApp('app');
  await using started = await startRouter();
  const { router, options } = started;
  await router.apply({
    routes: [route('k.apps.test', 'k'), route('k.apps.test', 'k', '/p')],
    backends: [backend('k', app.endpoint)],
  });
  for (const victim of ['master', 'worker', 'master', 'worker', 'master', 'worker'] as const) {
    const { master, workers } = await readProcesses(filesOf(options));
    process.kill(victim === 'master' ? master : (workers[0] ?? 0), 'SIGKILL');
    await until('it serves again', async () => {
      const answer = await get(router, 'k.apps.test').catch(() => undefined);
      return answer?.status === 200 && router.status().proxyPid !== master;
    });
    assert.equal((await get(router, 'k.apps.test', '/p/x')).body, 'app');
  }
  await using more = await startApp('more');
  await router.apply({ routes: [route('k.apps.test', 'k')], backends: [backend('k', more.endpoint)] });
  assert.equal((await get(router, 'k.apps.test')).body, 'more');
});

test('router: the pool grows and routes change under load, and no request fails', async () => {
  await using app = await startApp('app');
  await using started = await startRouter();
  const { router } = started;
  const table = (from: number, count: number): RoutingTable => {
    const names = ['load', ...Array.from({ length: count }, (_, index) => `app-${from + index}`)];
    return {
      routes: names.map((name) => route(`${name}.apps.test`, name)),
      backends: names.map((name) => backend(name, app.endpoint)),
    };
  };
  await router.apply(table(0, 1));
  const traffic = load(router, 'load.apps.test', 8);
  for (let round = 0; round < 100; round++) {
    await router.apply(table(round, 3));
    assert.equal((await get(router, `app-${round + 2}.apps.test`)).status, 200);
  }
  assert.equal(router.status().reloads, 0);
  await router.apply(table(0, 600));
  assert.equal(router.status().reloads, 1);
  assert.equal(router.status().backendPool, 1024 + 32 + 16);
  assert.equal((await get(router, 'app-599.apps.test')).body, 'app');
  const { requests, failures } = await traffic.stop();
  assert.deepEqual(failures, []);
  assert.ok(requests > 100);
});

test('router: names that would need escaping are refused, and nothing changes', async () => {
  await using app = await startApp('app');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({ routes: [route('v.apps.test', 'v')], backends: [backend('v', app.endpoint)] });
  const hosts = [
    'a b',
    'A.test',
    'a\nb',
    'x;show info',
    'a..b',
    '**',
    '*.*.test',
    '',
    `${'a'.repeat(64)}.test`,
    'a:80',
  ];
  for (const host of hosts) {
    await assert.rejects(
      router.apply({ routes: [route(host, 'v')], backends: [backend('v')] }),
      { code: 'invalid' },
      host,
    );
  }
  for (const path of ['', 'a', '/a/', '/a b', '/a\n', '/a?b', '/a#b', '/"', '/a//b', '/\\']) {
    await assert.rejects(
      router.apply({ routes: [route('v.apps.test', 'v', path)], backends: [backend('v')] }),
      { code: 'invalid' },
      path,
    );
  }
  const endpoints = [
    { name: 'A', ip: '127.0.0.1', port: 1 },
    { name: 'a', ip: 'localhost', port: 1 },
    { name: 'a', ip: '127.0.0.1', port: 0 },
    { name: 'a', ip: '127.0.0.1', port: 1, weight: 257 },
    { name: 'a', ip: '127.0.0.1', port: 1, instance: -1 },
  ];
  for (const endpoint of endpoints) {
    await assert.rejects(router.apply({ routes: [], backends: [backend('v', endpoint)] }), { code: 'invalid' });
  }
  await assert.rejects(router.apply({ routes: [route('v.apps.test', 'none')], backends: [] }), { code: 'invalid' });
  assert.equal((await get(router, 'v.apps.test')).body, 'app');
});

test('router: a taken port is named', async () => {
  await using app = await startApp('app');
  await assert.rejects(startRouter({ listen: { http: app.port, https: 0, address: '127.0.0.1' } }), {
    code: 'port-taken',
  });
});
