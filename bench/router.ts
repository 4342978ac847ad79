/**
 * Requests per second and p99 through the router with 10,000 routes, beside a hand-written HAProxy configuration with one
 * route that logs the same line over TCP, and beside gorouter with the same routes where it was built (`gorouter.ts`); and how long a
 * route takes to serve, under load. Client: wrk, 2 threads, 32 kept connections. The app is a HAProxy too, that answers by itself, so that it is never what is measured.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { freePort } from '#lib/ports.ts';
import { filesOf, renderConfig } from '#platform/router/haproxy/config.ts';
import type { Router, RouterOptions, RoutingTable } from '#platform/router/model.ts';
import { openRouter, stopProxy } from '#platform/router/open.ts';
import { type RouterPeer, startGorouter } from './gorouter.ts';
import { installPeer } from './peers.ts';
import { median, percentile, type Row } from './row.ts';

const ROUTES = 10_000;
const APPS = 400;
const ROUNDS = 3;
const SECONDS = 4;
const CHANGES = 200;
const command = promisify(execFile);

interface Load {
  perSecond: number;
  p99: number;
  failed: number;
}

export async function wrk(port: number, host: string, seconds: number): Promise<Load> {
  const { stdout } = await command('wrk', [
    '-t2',
    '-c32',
    `-d${seconds}s`,
    '--latency',
    '-H',
    `Host: ${host}`,
    `http://127.0.0.1:${port}/`,
  ]);
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? 0);
  const [, value = '0', unit = 'ms'] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  return {
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
    p99: Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's'],
    failed: number(/Non-2xx or 3xx responses: (\d+)/) + number(/Socket errors:.*timeout (\d+)/),
  };
}

function listen(): Promise<Server> {
  const server = createServer((socket) => socket.resume().on('error', () => socket.destroy()));
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

async function startHaproxy(directory: string, name: string, config: string, port: number): Promise<ChildProcess> {
  const file = join(directory, `${name}.cfg`);
  await writeFile(file, config);
  // In a session of its own, as the router's is: the kernel shares the processor out by session first.
  const child = spawn('haproxy', ['-q', '-f', file], { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  for (let round = 0; round < 200; round++) {
    const socket = connect(port, '127.0.0.1');
    const up = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (up) return child;
    await delay(20);
  }
  throw new Error(`HAProxy does not listen on ${port}`);
}

/** What somebody would write by hand for one app, with our log line. */
function handWritten(port: number, app: number, log: number, logFormat: string): string {
  return `ring access
  format raw
  maxlen 8192
  size 4194304
  timeout connect 1s
  timeout server 10s
  server sink 127.0.0.1:${log} log-proto octet-count
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 1s
frontend in
  bind 127.0.0.1:${port}
  log ring@access local0
  ${logFormat}
  capture request header User-Agent len 256
  capture request header Referer len 256
  capture request header X-Forwarded-For len 128
  option forwardfor
  use_backend app if { req.hdr(host) -i app-7.bench.test }
backend app
  server app-1 127.0.0.1:${app}
`;
}

function table(app: number): RoutingTable {
  const names = Array.from({ length: APPS }, (_, index) => `app-${index}`);
  return {
    routes: Array.from({ length: ROUTES }, (_, index) => ({
      host: index < APPS ? `app-${index}.bench.test` : `route-${index}.bench.test`,
      path: '/',
      backend: `app-${index % APPS}`,
      id: String(index),
    })),
    backends: names.map((name) => ({
      name,
      endpoints: [{ name: `${name}-1`, ip: '127.0.0.1', port: app, instance: 0 }],
    })),
  };
}

/** The status. */
export function get(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, headers: { host }, agent: false });
    sent.on('error', reject);
    sent.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.end();
  });
}

/** From the call that adds a route to its first 200, one after another. */
async function changeRoutes(router: Router, full: RoutingTable): Promise<{ times: number[]; failed: number }> {
  const times: number[] = [];
  let failed = 0;
  for (let index = 0; index < CHANGES; index++) {
    const host = `new-${index}.bench.test`;
    const began = performance.now();
    await router.apply({
      ...full,
      routes: [...full.routes, { host, path: '/', backend: `app-${index % APPS}`, id: host }],
    });
    if ((await get(router.ports().http, host)) !== 200) failed++;
    times.push(performance.now() - began);
  }
  return { times, failed };
}

export async function routerOptions(directory: string): Promise<RouterOptions> {
  const authority = await createAuthority({ commonName: 'bench', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'bench.test', usages: ['server'], days: 1 });
  return {
    instance: `bench-${process.pid}`,
    dataDirectory: join(directory, 'data'),
    runDirectory: join(directory, 'run'),
    listen: { http: 0, https: 0, address: '127.0.0.1' },
    certificate: `${pair.certificate}\n${pair.key}`,
    system: [],
    drainSeconds: 0,
    log: () => undefined,
  };
}

/** None where the peer was not measured. */
function compared(ours: Load[], peers: Load[], name: string, goal: string): Row[] {
  if (peers.length === 0) return [];
  const row = (what: string, field: 'perSecond' | 'p99'): Omit<Row, 'unit' | 'goal'> => ({
    what,
    ours: median(ours.map((load) => load[field])),
    peer: { name, value: median(peers.map((load) => load[field])) },
  });
  return [
    { ...row(`requests, ${ROUTES} routes (wrk -t2 -c32)`, 'perSecond'), unit: '/s', greater: true, goal },
    { ...row('their p99', 'p99'), unit: 'ms', goal: '' },
  ];
}

export async function run(): Promise<Row[]> {
  installPeer('haproxy', 'haproxy');
  installPeer('wrk', 'wrk');
  const directory = await mkdtemp(join(tmpdir(), 'bench-router-'));
  const [app, peer] = [await freePort(), await freePort()];
  const sink = await listen();
  const children: ChildProcess[] = [];
  const options = await routerOptions(directory);
  let gorouter: RouterPeer | undefined;
  try {
    const answers = `defaults\n  mode http\n  timeout client 60s\nfrontend app\n  bind 127.0.0.1:${app}\n  http-request return status 200 content-type text/plain string "hello from the app"\n`;
    children.push(await startHaproxy(directory, 'app', answers, app));
    const logPort = (sink.address() as AddressInfo).port;
    const ours = renderConfig(
      {
        files: filesOf(options),
        http: 1,
        https: 2,
        tcp: [],
        addresses: [],
        tls: { minimum: '1.2', forwarded: 'sanitize_set' },
        system: [],
        maxConnections: 1,
        user: '',
        access: { port: logPort, token: 'token' },
      },
      { pools: { b: 0, l: 0, s: 1 }, stamp: '', state: undefined },
    );
    const logFormat = (/^ {2}log-format .*$/m.exec(ours)?.[0] ?? '').trim();
    children.push(await startHaproxy(directory, 'peer', handWritten(peer, app, logPort, logFormat), peer));
    const router = await openRouter(options);
    const full = table(app);
    await router.apply(full);
    let records = 0;
    router.onAccess(() => records++);
    gorouter = await startGorouter(directory, {
      apps: full.backends.map(({ name: id }) => ({
        id,
        hosts: full.routes.filter(({ backend }) => backend === id).map(({ host }) => host),
      })),
      port: app,
      status: get,
    });
    const results = { ours: [] as Load[], peer: [] as Load[], gorouter: [] as Load[] };
    for (let round = 0; round < ROUNDS; round++) {
      results.ours.push(await wrk(router.ports().http, 'app-7.bench.test', SECONDS));
      results.peer.push(await wrk(peer, 'app-7.bench.test', SECONDS));
      if (gorouter) results.gorouter.push(await wrk(gorouter.port, 'app-7.bench.test', SECONDS));
    }
    await gorouter?.stop();
    const load = wrk(router.ports().http, 'app-7.bench.test', 30);
    const changes = await changeRoutes(router, full);
    const under = await load;
    const failed = [...results.ours, under].reduce((sum, { failed: count }) => sum + count, changes.failed);
    if (failed > 0 || records === 0) throw new Error(`${failed} requests failed, ${records} were logged`);
    await router.close();
    return [
      ...compared(results.ours, results.peer, 'hand-written HAProxy, one route', 'at least 0.95 x'),
      ...compared(results.ours, results.gorouter, `gorouter, ${ROUTES} routes`, 'at least 2 x'),
      {
        what: `route added to its first 200, under load, p99 of ${CHANGES}`,
        unit: 'ms',
        ours: percentile(changes.times, 0.99),
        goal: 'at most 100 ms, none failed',
      },
    ];
  } finally {
    await gorouter?.stop();
    for (const child of children) child.kill();
    sink.close();
    await stopProxy(options);
    await rm(directory, { recursive: true, force: true });
  }
}
