/** The endpoint on an engine in memory; with the real one it is tested in `testing/agent-real.test.ts`. */
import assert from 'node:assert/strict';
import { type RequestOptions, request } from 'node:https';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import { apiDouble } from '#testing/agent-api-double.ts';
import { EngineDouble } from '#testing/agent-engine-double.ts';
import { podObject } from '#testing/agent-pod.ts';
import { until } from '#testing/until.ts';
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import { roomOf } from './node-settings.ts';
import { NodeVolumes } from './node-volumes.ts';
import { type Endpoint, startEndpoint } from './endpoint.ts';
import { PodWorkers } from './pods.ts';
import { strictPolicy } from './security.ts';

const engine = new EngineDouble();
engine.present.add('local/app:1');
const api = apiDouble(podObject('a'));
let endpoint: Endpoint;
let workers: PodWorkers;
let authority: KeyPair;
let trusted: RequestOptions;
let stranger: RequestOptions;

before(async () => {
  authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, {
    commonName: 'node-1',
    days: 1,
    ips: ['127.0.0.1'],
    usages: ['server'],
  });
  const clientOf = async (commonName: string): Promise<RequestOptions> => {
    const { certificate, key } = await issueCertificate(authority, { commonName, days: 1, usages: ['client'] });
    return { cert: certificate, key, ca: authority.certificate };
  };
  trusted = await clientOf('system:apiserver');
  stranger = await clientOf('system:node:node-1');
  const recorder = { record: () => {}, close: async () => {} };
  const context: NodeContext = {
    nodeName: 'node-1',
    hostIps: ['192.0.2.1'],
    engine,
    client: api.client,
    recorder,
    policy: strictPolicy,
    volumes: new NodeVolumes({
      nodeName: 'node-1',
      client: api.client,
      engine,
      recorder,
      dataDirectory: '/nonexistent/sampan-agent',
      log: () => {},
    }),
    room: roomOf({ milliCpus: 4000, memoryBytes: 2 ** 33, diskBytes: 2 ** 40 }, {}),
    dataDirectory: '/nonexistent/sampan-agent',
    log: () => {},
  };
  const informer = { synced: Promise.resolve(), onChange: () => () => {}, list: () => [api.pod] } as Partial<
    Informer<Pod>
  >;
  workers = new PodWorkers(context, informer as Informer<Pod>);
  await workers.start();
  const tls = { ...pair, clientCa: authority.certificate };
  endpoint = await startEndpoint({ context, workers, port: 0, tls });
  await api.until('running', (pod: Stored<Pod>) => pod.status?.phase === 'Running');
});

after(async () => {
  await endpoint.close();
  await workers.close();
});

async function get(path: string, options: RequestOptions = trusted): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const sent = request({ host: '127.0.0.1', port: endpoint.port, path, agent: false, ...options }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
  });
  sent.on('error', reject);
  sent.end();
  return promise;
}

test('only the API server may use it', async () => {
  assert.deepEqual(await get('/healthz'), { status: 200, text: 'ok' });
  assert.equal((await get('/stats/summary', stranger)).status, 403);
  await assert.rejects(get('/healthz', { ca: authority.certificate }));
});

test('logs: lines, times, streams, tail and limit', async () => {
  const line = (second: number, stream: 'stdout' | 'stderr', text: string) => ({
    time: `2026-01-01T00:00:0${second}.000000000Z`,
    stream,
    line: Buffer.from(text),
  });
  engine.lines.splice(0, Infinity, line(1, 'stdout', 'one'), line(2, 'stderr', 'two'), line(3, 'stdout', 'three'));
  const path = '/containerLogs/default/a/main';
  assert.equal((await get(path)).text, 'one\ntwo\nthree\n');
  assert.equal((await get(`${path}?timestamps=true&tailLines=1`)).text, '2026-01-01T00:00:03.000000000Z three\n');
  assert.equal((await get(`${path}?stream=Stderr`)).text, 'two\n');
  assert.equal((await get(`${path}?limitBytes=6`)).text, 'one\ntw');
  assert.equal((await get(`${path}?follow=true`)).text, 'one\ntwo\nthree\n');
});

test('errors say what is wrong', async () => {
  const cases: [string, number, RegExp][] = [
    [
      '/containerLogs/default/a/main?previous=true',
      400,
      /^previous terminated container "main" in pod "a" not found$/m,
    ],
    ['/containerLogs/default/none/main', 404, /pod "none" not found/],
    ['/containerLogs/default/a/other', 400, /container "other" is not valid for pod "a"/],
    ['/containerLogs/default/a/main?tailLines=-1', 400, /tailLines "-1" must be a whole number/],
    ['/containerLogs/default/a/main?sinceTime=never', 400, /sinceTime "never" is no time/],
    ['/exec/default/a/main?command=true', 400, /needs a WebSocket upgrade/],
    ['/%zz', 400, /percent-encoded/],
    ['/elsewhere', 404, /no such path/],
  ];
  for (const [path, status, message] of cases) {
    const answer = await get(path);
    assert.equal(answer.status, status, path);
    assert.match(answer.text, message);
  }
});

test('stats have every running container', async () => {
  const summary = JSON.parse((await get('/stats/summary')).text) as {
    node: { nodeName: string; cpu: { usageCoreNanoSeconds: number } };
    pods: { podRef: { name: string }; containers: { name: string; memory: { workingSetBytes: number } }[] }[];
  };
  assert.equal(summary.node.nodeName, 'node-1');
  assert.ok(summary.node.cpu.usageCoreNanoSeconds > 0);
  assert.deepEqual(
    summary.pods.map(({ podRef, containers }) => [podRef.name, containers[0]?.name]),
    [['a', 'main']],
  );
});

interface Exchange {
  frames: [number, string][];
  send(channel: number, bytes: string | Uint8Array): void;
  close(): void;
  closed: Promise<void>;
}

async function open(query: string, ...protocols: string[]): Promise<Exchange> {
  const { ca, cert, key } = trusted;
  const socket = new WebSocket(`wss://127.0.0.1:${endpoint.port}/exec/default/a/main?${query}`, protocols, {
    ca,
    cert,
    key,
  } as object);
  const frames: [number, string][] = [];
  socket.on('message', (data: Buffer) => void frames.push([data[0] ?? -1, data.subarray(1).toString()]));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return {
    frames,
    closed,
    close: () => socket.close(),
    send: (channel, bytes) => socket.send(Buffer.concat([Buffer.from([channel]), Buffer.from(bytes)])),
  };
}

test('exec: input, output, resize, the end of input, and the exit code', async () => {
  engine.execCode = 3;
  const exec = await open('command=cat&input=1&output=1&error=1', 'v5.channel.k8s.io');
  exec.send(4, '{"Width":120,"Height":40}');
  exec.send(0, 'hello');
  exec.send(255, new Uint8Array([0]));
  await exec.closed;
  assert.equal(
    exec.frames
      .filter(([channel]) => channel === 1)
      .map(([, text]) => text)
      .join(''),
    'hello',
  );
  const [channel, text = ''] = exec.frames.at(-1) ?? [];
  assert.equal(channel, 3);
  const status = JSON.parse(text) as { reason: string; details: { causes: { message: string }[] } };
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.equal(status.details.causes[0]?.message, '3');
  assert.ok(engine.calls.includes('resize 120 40'));
  engine.execCode = 0;
});

test('exec: version 4 ends with success', async () => {
  const exec = await open('command=true&output=1', 'v4.channel.k8s.io');
  await exec.closed;
  assert.deepEqual(JSON.parse(exec.frames.at(-1)?.[1] ?? ''), { metadata: {}, status: 'Success' });
});

test('exec: clients of the first protocol, or of none, are told in words what failed, and nothing else', async () => {
  for (const protocols of [['channel.k8s.io'], []]) {
    engine.execCode = 0;
    const fine = await open('command=cat&input=1&output=1', ...protocols);
    fine.send(0, 'hello');
    fine.send(255, new Uint8Array([0]));
    await fine.closed;
    const words = fine.frames.filter(([, text]) => text !== '');
    assert.deepEqual(words, [[1, 'hello']]);
    engine.execCode = 3;
    const failed = await open('command=false&output=1', ...protocols);
    await failed.closed;
    assert.deepEqual(failed.frames.at(-1), [3, 'command terminated with non-zero exit code: exit status 3']);
  }
  engine.execCode = 0;
});

test('exec: browsers speak base64', async () => {
  const exec = await open('command=cat&input=1&output=1', 'v4.base64.channel.k8s.io');
  exec.send(0x30, btoa('hello'));
  await until(
    () => Promise.resolve(exec.frames.some(([channel, text]) => channel === 0x31 && text === btoa('hello'))),
    30,
  );
  exec.close();
  const done = await open('command=true&output=1', 'v4.base64.channel.k8s.io');
  await done.closed;
  const [channel, text = ''] = done.frames.at(-1) ?? [];
  assert.equal(channel, 0x33);
  assert.deepEqual(JSON.parse(atob(text)), { metadata: {}, status: 'Success' });
});

test('exec: a protocol that is not known is refused', async () => {
  await assert.rejects(open('command=true', 'v9.channel.k8s.io'), /400/);
});
