import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer as createTcp, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import type { Container, Probe } from '../kinds/types/core.ts';
import { type CheckAction, type CheckResult, check, portOf } from './probe-check.ts';
import { eagerPause, type ProbeOptions, startProbes } from './probes.ts';

const definition: Container = { name: 'main', ports: [{ name: 'web', containerPort: 8080 }] };

/** Hosts that were asked from inside the pod's network; all of them are this one. */
const asked: string[] = [];
async function dial(host: string, port: number): Promise<Socket> {
  asked.push(host);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

function look(action: CheckAction, timeout = 1000): Promise<CheckResult> {
  const exec = async (command: string[]) => ({ code: command[0] === 'good' ? 0 : 3, output: command.join(' ') });
  return check(action, { ip: '127.0.0.1', definition, exec, dial }, timeout);
}

type Listening = { listen: (port: number, host: string) => unknown; close: () => unknown; address: () => unknown };

async function listen(t: TestContext, server: Listening & NodeJS.EventEmitter): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('http: 200 to 399 is good; headers and path are sent; the reason is told', async (t) => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers['x-probe']} ${request.headers['user-agent']}`);
    response.statusCode = Number(request.url?.slice(1));
    response.end('body');
  });
  const port = await listen(t, server);
  const get = (path: string) => look({ httpGet: { path, port, httpHeaders: [{ name: 'X-Probe', value: 'yes' }] } });
  assert.deepEqual(await get('/200'), { ok: true, message: 'HTTP probe succeeded with statuscode: 200' });
  assert.equal((await get('/302')).ok, true);
  assert.deepEqual(await get('/503'), { ok: false, message: 'HTTP probe failed with statuscode: 503' });
  assert.equal(seen[0], 'GET /200 yes kube-probe/1.30');
});

test('https: any certificate will do', async (t) => {
  const authority = await createAuthority({ commonName: 'nobody', days: 1 });
  const { certificate, key } = await issueCertificate(authority, { commonName: 'x', usages: ['server'], days: 1 });
  const port = await listen(
    t,
    createHttps({ cert: certificate, key }, (_request, response) => response.end()),
  );
  assert.equal((await look({ httpGet: { scheme: 'HTTPS', path: '/', port } }, 10_000)).ok, true);
  assert.equal((await look({ httpGet: { scheme: 'HTTP', path: '/', port } }, 10_000)).ok, false);
});

test('http: redirects to the same host are followed, those to others are answers', async (t) => {
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    if (path === '/here') response.writeHead(302, { location: '/broken' });
    else if (path === '/away') response.writeHead(302, { location: 'http://other.example/' });
    else if (path === '/round') response.writeHead(301, { location: '/round' });
    else response.writeHead(path === '/broken' ? 500 : 200);
    response.end();
  });
  const port = await listen(t, server);
  const get = (path: string) => look({ httpGet: { path, port } });
  assert.deepEqual(await get('/here'), { ok: false, message: 'HTTP probe failed with statuscode: 500' });
  assert.deepEqual(await get('/away'), { ok: true, message: 'HTTP probe succeeded with statuscode: 302' });
  assert.match((await get('/round')).message, /stopped after 10 redirects/);
});

test('another host is asked from inside the pod’s network', async (t) => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.host);
    response.end();
  });
  const port = await listen(t, server);
  assert.equal((await look({ httpGet: { host: 'other.test', port } })).ok, true);
  assert.equal((await look({ tcpSocket: { host: '192.0.2.1', port } })).ok, true);
  assert.deepEqual(asked, ['other.test', '192.0.2.1']);
  assert.deepEqual(seen, [`other.test:${port}`]);
});

test('http: what would break the request apart is not sent', async (t) => {
  const server = createServer((_request, response) => response.end());
  const port = await listen(t, server);
  assert.match((await look({ httpGet: { path: '/a b', port } })).message, /white space/);
  const httpHeaders = [{ name: 'X', value: 'a\r\nY: b' }];
  assert.match((await look({ httpGet: { path: '/', port, httpHeaders } })).message, /not a valid header/);
});

test('http: no listener, no answer, an answer that is none', async (t) => {
  const silent = createTcp((socket) => socket.on('error', () => {}));
  const port = await listen(t, silent);
  assert.match((await look({ httpGet: { port } }, 50)).message, /no answer/);
  const odd = await listen(
    t,
    createTcp((socket) => socket.end('SSH-2.0-x\r\n')),
  );
  assert.match((await look({ httpGet: { port: odd } })).message, /malformed HTTP response|EOF/);
  const free = createTcp();
  const gone = await listen(t, free);
  await new Promise((resolve) => free.close(resolve));
  assert.match((await look({ httpGet: { port: gone } })).message, /ECONNREFUSED/);
  assert.match((await look({ tcpSocket: { port: gone } })).message, /ECONNREFUSED/);
});

test('tcp and exec', async (t) => {
  const port = await listen(
    t,
    createTcp((socket) => socket.end()),
  );
  assert.equal((await look({ tcpSocket: { port } })).ok, true);
  assert.equal((await look({ exec: { command: ['good'] } })).ok, true);
  assert.deepEqual(await look({ exec: { command: ['bad', 'luck'] } }), { ok: false, message: 'bad luck' });
});

test('grpc: serving and not serving', async (t) => {
  const server = createHttp2();
  server.on('stream', (stream: ServerHttp2Stream) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const service = Buffer.concat(chunks).subarray(7).toString();
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': service === 'none' ? '5' : '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, service === 'good' ? 1 : 2]));
    });
  });
  const port = await listen(t, server);
  assert.equal((await look({ grpc: { port, service: 'good' } })).ok, true);
  assert.match((await look({ grpc: { port, service: 'bad' } })).message, /service unhealthy \(responded with 2\)/);
  assert.match((await look({ grpc: { port, service: 'none' } })).message, /rpc status 5/);
});

test('ports by number and by name', () => {
  assert.equal(portOf('web', definition), 8080);
  assert.equal(portOf('90', definition), 90);
  assert.throws(() => portOf('other', definition), /neither a number nor the name of a port of container "main"/);
});

test('the pause before the first success follows the time since the start', () => {
  const http: Probe = { httpGet: { port: 80 } };
  assert.deepEqual(
    [0, 100, 400, 5000, 60_001].map((elapsed) => eagerPause(http, elapsed, 10_000)),
    [10, 10, 20, 250, 10_000],
  );
  const exec: Probe = { exec: { command: ['true'] } };
  assert.deepEqual(
    [0, 1000, 30_000].map((elapsed) => eagerPause(exec, elapsed, 10_000)),
    [250, 500, 10_000],
  );
});

/** Runs probes whose checks give `results` in turn, and collects what they tell. */
async function told(
  container: Partial<Container>,
  results: boolean[],
  until: (words: string[]) => boolean,
  known = { started: false, ready: false },
): Promise<string[]> {
  const words: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const say = (word: string): void => {
    words.push(word);
    if (until(words)) resolve();
  };
  const options: ProbeOptions = {
    definition: { name: 'main', ...container },
    startedAt: Date.now(),
    known,
    check: async () => ({ ok: results.length > 1 ? results.shift() === true : results[0] === true, message: 'looked' }),
    onChange: () => say(`started ${probes.started} ready ${probes.ready}`),
    onCondemned: (kind) => say(`condemned by ${kind}`),
    onFailure: (kind) => say(`${kind} failed`),
  };
  const probes = startProbes(options);
  if (until(words)) resolve();
  await promise;
  probes.close();
  return words;
}

test('readiness waits for the startup probe; early failures are not told', async () => {
  const startupProbe = { tcpSocket: { port: 1 }, periodSeconds: 60 };
  const readinessProbe = { tcpSocket: { port: 2 }, periodSeconds: 60 };
  const words = await told(
    { startupProbe, readinessProbe },
    [false, false, true, false, true],
    (all) => all.length === 2,
  );
  assert.deepEqual(words, ['started true ready false', 'started true ready true']);
});

test('a startup probe that never succeeds condemns after its threshold of periods', async () => {
  const startupProbe = { tcpSocket: { port: 1 }, periodSeconds: 1, failureThreshold: 1 };
  const words = await told({ startupProbe }, [false], (all) => all.length === 2);
  assert.deepEqual(words, ['startup failed', 'condemned by startup']);
});

test('what was known before a restart of the agent holds until a probe says otherwise', async () => {
  const readinessProbe = { tcpSocket: { port: 1 }, periodSeconds: 1, failureThreshold: 1 };
  const words = await told({ readinessProbe }, [false], (all) => all.length === 2, { started: true, ready: true });
  assert.deepEqual(words, ['readiness failed', 'started true ready false']);
});
