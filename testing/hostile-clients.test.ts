/** Clients that send what is malformed, huge or deep, and clients that do not read or do not speak: refused, and nobody else is kept waiting. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect } from 'node:tls';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '#cluster/client/https.ts';
import { readAll } from '#cluster/client/json-lines.ts';
import type { Transport } from '#cluster/client/transport.ts';
import { configMaps } from '#cluster/kinds/resources.ts';
import { until } from './platform.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const PODS = '/api/v1/namespaces/default/pods';
const MEBIBYTE = 1 << 20;
/** Of its own and for what is under way; all that the clients below do not read would be several times as much. */
const MEMORY_LIMIT = 450 * MEBIBYTE;

let child: ChildProcess;
let address: HttpsTransportOptions;
let transport: Transport;
let client: Client;
let behaved: { latencies: number[]; stop: () => Promise<void> };
const sockets: Socket[] = [];

async function memory(): Promise<number> {
  child.send('memory');
  const [bytes] = (await once(child, 'message')) as [number];
  return bytes;
}

/** One that asks and writes now and then, and is never kept waiting for long. */
function behave(): typeof behaved {
  const stop = new AbortController();
  const latencies: number[] = [];
  const work = (async () => {
    for (let turn = 0; !stop.signal.aborted; turn += 1) {
      const begun = performance.now();
      const body = { data: { turn: String(turn) } };
      await client.patch(configMaps, 'behaved', { type: 'merge', body }, { namespace: 'default' });
      const { data } = await client.get(configMaps, 'behaved', 'default');
      assert.equal(data?.['turn'], String(turn));
      latencies.push(performance.now() - begun);
    }
  })();
  return {
    latencies,
    stop: async () => {
      stop.abort();
      await work;
    },
  };
}

/** A connection of somebody who is known, and who has said this much. */
async function say(text: string): Promise<Socket> {
  const { hostname, port } = new URL(address.url);
  const { ca, certificate: cert, key } = address;
  const socket = connect({ host: hostname, port: Number(port), ca, cert, key });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  socket.pause();
  socket.write(text);
  return socket;
}

describe('hostile clients', { concurrency: 1 }, () => {
  before(async () => {
    child = fork(join(import.meta.dirname, 'api-process.fixture.ts'), {
      execArgv: ['--experimental-ffi', '--disable-warning=ExperimentalWarning'],
    });
    [address] = (await once(child, 'message')) as [HttpsTransportOptions];
    transport = httpsTransport(address);
    client = createClient(transport);
    const filler = 'x'.repeat(10_000);
    for (let index = 0; index < 300; index += 1)
      await client.create(configMaps, { metadata: { name: `map-${index}`, namespace: 'default' }, data: { filler } });
    await client.create(configMaps, { metadata: { name: 'behaved', namespace: 'default' } });
    behaved = behave();
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    transport.close();
    child.disconnect();
  });

  test('watches and lists that nobody reads keep no copies, and hold up nobody', async () => {
    const before = await memory();
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
    for (let index = 0; index < 100; index += 1) await say(get(`${MAPS}?watch=1`));
    for (let index = 0; index < 60; index += 1) await say(get(MAPS));
    const turns = behaved.latencies.length;
    await until('others to be served', async () => behaved.latencies.length > turns + 20, 60);
    const grown = (await memory()) - before;
    assert.ok(grown < MEMORY_LIMIT, `${grown} bytes for 160 copies of 3 MB that nobody takes`);
  });

  test('connections on which nothing is said, or not all of it, hold up nobody', async () => {
    const { hostname, port } = new URL(address.url);
    for (let index = 0; index < 100; index += 1) {
      const socket = connectPlain({ host: hostname, port: Number(port) });
      socket.on('error', () => undefined);
      sockets.push(socket);
      await once(socket, 'connect');
    }
    for (let index = 0; index < 50; index += 1)
      await say(`POST ${MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n{"a`);
    const turns = behaved.latencies.length;
    await until('others to be served', async () => behaved.latencies.length > turns + 20, 60);
  });

  const items = (count: number, item: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => item(index)).join(',');
  const pod = (spec: string, name = 'hostile'): string => `{"metadata":{"name":"${name}"},"spec":{${spec}}}`;
  const container = '"containers":[{"name":"c","image":"i"}]';
  const digits = '1'.repeat(1_000_000);
  const strategic = 'application/strategic-merge-patch+json';
  const doubling = Array.from({ length: 40 }, (_, index) => ({ op: 'copy', from: '/data', path: `/data/${index}` }));
  const requests: [what: string, method: string, path: string, type: string, body: string, codes: number[]][] = [
    ['a body that is too large', 'POST', MAPS, 'application/json', `{"data":{"a":"${'x'.repeat(3 << 20)}"}}`, [413]],
    ['a deep body', 'POST', MAPS, 'application/json', '{"a":'.repeat(400_000), [400]],
    ['deep YAML', 'POST', MAPS, 'application/yaml', '['.repeat(200_000), [400]],
    ['much YAML', 'POST', MAPS, 'application/yaml', `a:\n${'- {b: c}\n'.repeat(60_000)}`, [400, 422]],
    [
      'a quantity of a million digits',
      'POST',
      PODS,
      'application/json',
      pod(`${container.slice(0, -2)},"resources":{"limits":{"cpu":"${digits}x"}}}]`),
      [400],
    ],
    [
      'a patch whose copies double',
      'PATCH',
      `${MAPS}/map-0`,
      'application/json-patch+json',
      JSON.stringify(doubling),
      [422],
    ],
    [
      'a patch to what objects inherit',
      'PATCH',
      `${MAPS}/map-0`,
      'application/json-patch+json',
      '[{"op":"replace","path":"/metadata/hasOwnProperty/call","value":1}]',
      [422],
    ],
    [
      'a long list by its key',
      'PATCH',
      `${PODS}/there`,
      strategic,
      pod(`"containers":[${items(150_000, (index) => `{"name":"${index}"}`)}]`, 'there'),
      [400, 422],
    ],
    [
      'a long applied list',
      'PATCH',
      `${PODS}/applied?fieldManager=x`,
      'application/apply-patch+yaml',
      `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"applied"},"spec":{"containers":[${items(40_000, (index) => `{"name":"${index}","image":"i"}`)}]}}`,
      [201, 413, 422],
    ],
    [
      'many labels that are wrong',
      'POST',
      MAPS,
      'application/json',
      `{"metadata":{"name":"x","labels":{${items(100_000, (index) => `"-${index}":"-"`)}}}}`,
      [400, 422],
    ],
    [
      'many finalizers',
      'POST',
      MAPS,
      'application/json',
      `{"metadata":{"name":"x","finalizers":[${items(100_000, (index) => `"example.com/${index}"`)}]}}`,
      [201, 413, 422],
    ],
    [
      'many tolerations',
      'POST',
      PODS,
      'application/json',
      pod(`${container},"tolerations":[${items(80_000, (index) => `{"key":"k${index}","operator":"Exists"}`)}]`),
      [201, 413, 422],
    ],
    ['a selector that cannot be read', 'GET', `${MAPS}?labelSelector=${'a,'.repeat(20_000)}`, '', '', [400]],
    ['a selector of many values', 'GET', `${MAPS}?labelSelector=a+in+(${'b,'.repeat(20_000)}c)`, '', '', [200]],
    [
      'protobuf that is none',
      'POST',
      PODS,
      'application/vnd.kubernetes.protobuf',
      `k8s\0${'\n\u0001'.repeat(100_000)}`,
      [400],
    ],
  ];
  for (const [what, method, path, type, body, codes] of requests) {
    test(`${what}: ${codes.join(' or ')}`, async () => {
      if (path.startsWith(`${PODS}/there`))
        await client.request({
          method: 'POST',
          path: PODS,
          body: JSON.parse(pod(container, 'there')),
        });
      const answer = await transport.request({
        method,
        path,
        headers: type === '' ? {} : { 'content-type': type },
        ...(body !== '' && { body: Buffer.from(body, 'latin1') }),
        signal: AbortSignal.timeout(60_000),
      });
      const text = (await readAll(answer.body)).toString();
      assert.ok(codes.includes(answer.status), `${answer.status}: ${text.slice(0, 300)}`);
      if (answer.status >= 400) assert.equal((JSON.parse(text) as { kind: string }).kind, 'Status');
      assert.ok(text.length < 20 * MEBIBYTE, `${text.length} bytes of an answer`);
    });
  }

  test('nobody else was refused or lost, and the server is well', async (context) => {
    await behaved.stop();
    const sorted = behaved.latencies.toSorted((a, b) => a - b);
    const at = (share: number): string => `${Math.round(sorted[Math.floor(sorted.length * share)] ?? 0)} ms`;
    context.diagnostic(
      `${sorted.length} writes and reads beside: median ${at(0.5)}, p99 ${at(0.99)}, longest ${at(0.999)}`,
    );
    const missing = await client.get(configMaps, 'none', 'default').catch((error: unknown) => error);
    assert.ok(missing instanceof ApiError && missing.code === 404);
    assert.ok((await memory()) > 0);
  });
});
