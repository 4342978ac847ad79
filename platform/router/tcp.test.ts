/** TCP routes: ports of the router that lead to apps byte for byte. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import test from 'node:test';
import { freePort } from '#lib/ports.ts';
import { filesOf } from './haproxy/config.ts';
import { readProcesses } from './haproxy/process.ts';
import type { RoutingTable } from './model.ts';
import { backend, startRouter, until } from './testing.ts';

interface EchoApp extends AsyncDisposable {
  port: number;
  server: Server;
}

/** Says its name, then whatever it hears; ends when the other side does. */
async function startEcho(name: string): Promise<EchoApp> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket));
    socket.write(`${name}\n`);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** All that comes until the other side ends, after `text` was said and our side ended. Empty: it was closed at once. */
async function talk(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  // Who ends before the app was reached, and has sent nothing, is taken for gone.
  socket.once('data', () => socket.end(text));
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => socket.destroy());
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks).toString();
}

/** Growing, as the router has them. */
async function somePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports].sort((a, b) => a - b);
}

function endpoint(name: string, { port }: { port: number }) {
  return { name, ip: '127.0.0.1', port, instance: 0 };
}

test('tcp: ports lead to apps, change without a reload, and close where nobody is', async () => {
  await using one = await startEcho('one');
  await using two = await startEcho('two');
  const ports = await somePorts(3);
  const [first = 0, second = 0, third = 0] = ports;
  await using started = await startRouter({ listen: { http: 0, https: 0, tcp: ports, address: '127.0.0.1' } });
  const { router } = started;
  assert.deepEqual(router.ports().tcp, ports);
  assert.equal(await talk(first, 'hello'), '');

  // Two ports of one app, each its own; a byte is a byte, in both directions.
  const table: RoutingTable = {
    routes: [],
    tcp: [
      { port: first, backend: 'a', id: '1' },
      { port: second, backend: 'b', id: '2' },
    ],
    backends: [backend('a', endpoint('app', one)), backend('b', endpoint('app', two))],
  };
  await router.apply(table);
  const bytes = `\0\r\n\xff${'x'.repeat(100_000)}`;
  assert.equal(await talk(first, bytes), `one\n${bytes}`);
  assert.equal(await talk(second, 'hello'), 'two\nhello');
  assert.equal(await talk(third, 'hello'), '');

  // Another app takes the port over: who is connected stays with the one before.
  const old = connect(first, '127.0.0.1');
  old.on('error', () => undefined);
  assert.equal(String((await once(old, 'data'))[0]), 'one\n');
  await router.apply({
    ...table,
    tcp: [{ port: first, backend: 'b', id: '1' }],
    backends: [backend('b', endpoint('app', two))],
  });
  assert.equal(await talk(first, 'hello'), 'two\nhello');
  old.write('still here');
  assert.equal(String((await once(old, 'data'))[0]), 'still here');
  old.destroy();
  assert.equal(await talk(second, 'hello'), '');
  assert.equal(router.status().reloads, 0);
});

test('tcp: of one port by weight; a dead instance costs nobody anything', async () => {
  await using one = await startEcho('one');
  await using two = await startEcho('two');
  const ports = await somePorts(1);
  const [port = 0] = ports;
  await using started = await startRouter({ listen: { http: 0, https: 0, tcp: ports, address: '127.0.0.1' } });
  const { router } = started;
  const with_ = (...weights: [number, number]): RoutingTable => ({
    routes: [],
    tcp: [{ port, backend: 'w', id: '1' }],
    backends: [
      backend(
        'w',
        { ...endpoint('one', one), weight: weights[0] },
        { ...endpoint('two', two), weight: weights[1] },
        { ...endpoint('dead', { port: 1 }), weight: 1 },
      ),
    ],
  });
  await router.apply(with_(30, 10));
  const answers: string[] = [];
  for (let round = 0; round < 41; round++) answers.push((await talk(port, '')).trim());
  const count = (name: string): number => answers.filter((answer) => answer === name).length;
  assert.equal(count('one') + count('two'), 41, answers.join());
  assert.ok(count('one') >= 29 && count('one') <= 31, answers.join());
});

test('tcp: a port that another program has is left to it, and the others serve', async () => {
  await using app = await startEcho('app');
  await using stranger = await startEcho('stranger');
  const [free = 0] = await somePorts(1);
  const wanted = [free, stranger.port].sort((a, b) => a - b);
  await using started = await startRouter({ listen: { http: 0, https: 0, tcp: wanted, address: '127.0.0.1' } });
  const { router } = started;
  assert.deepEqual(router.ports().tcp, [free]);
  const table: RoutingTable = {
    routes: [],
    tcp: wanted.map((port) => ({ port, backend: 'a', id: String(port) })),
    backends: [backend('a', endpoint('app', app))],
  };
  await router.apply(table);
  assert.equal(await talk(free, ''), 'app\n');
  assert.equal(await talk(stranger.port, ''), 'stranger\n');

  // A platform that starts again finds them as they are, and connections stay.
  const open = connect(free, '127.0.0.1');
  open.on('error', () => undefined);
  await once(open, 'data');
  await started.reopen();
  await started.router.apply(table);
  assert.equal(started.router.status().reloads, 0);
  open.write('there?');
  assert.equal(String((await once(open, 'data'))[0]), 'there?');
  open.destroy();

  const { master } = await readProcesses(filesOf(started.options));
  process.kill(master, 'SIGKILL');
  await until('it serves again', async () => (await talk(free, '')) === 'app\n');
});
