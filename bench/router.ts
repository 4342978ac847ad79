/**
 * Requests per second and p99 through the router with 10,000 routes, beside a hand-written HAProxy configuration with one
 * route that logs the same line over TCP, and beside gorouter with the same routes where it was built (`gorouter.ts`).
 */
import { type AddressInfo, createServer, type Server } from 'node:net';
import { freePort } from '#lib/ports.ts';
import { type ConfigInput, filesOf, renderConfig } from '#platform/router/haproxy/config.ts';
import { startGorouter } from './gorouter.ts';
import { median, type Row } from './row.ts';
import { get, HOST, type Load, type RouterBed, ROUTES, withRouter, wrk } from './router-bed.ts';

const ROUNDS = 3;
const SECONDS = 4;

function listen(): Promise<Server> {
  const server = createServer((socket) => socket.resume().on('error', () => socket.destroy()));
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
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
  use_backend app if { req.hdr(host) -i ${HOST} }
backend app
  server app-1 127.0.0.1:${app}
`;
}

/** The line of our own configuration. */
function ourLogFormat({ options }: RouterBed, log: number): string {
  const input: ConfigInput = {
    files: filesOf(options),
    http: 1,
    https: 2,
    tcp: [],
    addresses: [],
    tls: { minimum: '1.2', forwarded: 'sanitize_set' },
    system: [],
    maxConnections: 1,
    user: '',
    access: { port: log, token: 'token' },
  };
  const ours = renderConfig(input, { pools: { b: 0, l: 0, s: 1 }, hashed: [], stamp: '', state: undefined });
  return (/^ {2}log-format .*$/m.exec(ours)?.[0] ?? '').trim();
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

async function measure(bed: RouterBed, log: number): Promise<Row[]> {
  const { directory, app, router, table } = bed;
  const peer = await freePort();
  await bed.haproxy('peer', handWritten(peer, app, log, ourLogFormat(bed, log)), peer);
  let records = 0;
  router.onAccess(() => records++);
  const gorouter = await startGorouter(directory, {
    apps: table.backends.map(({ name: id }) => ({
      id,
      hosts: table.routes.filter(({ backend }) => backend === id).map(({ host }) => host),
    })),
    port: app,
    status: get,
  });
  const results = { ours: [] as Load[], peer: [] as Load[], gorouter: [] as Load[] };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      results.ours.push(await wrk(router.ports().http, HOST, SECONDS));
      results.peer.push(await wrk(peer, HOST, SECONDS));
      if (gorouter) results.gorouter.push(await wrk(gorouter.port, HOST, SECONDS));
    }
  } finally {
    await gorouter?.stop();
  }
  const failed = results.ours.reduce((sum, { failed: count }) => sum + count, 0);
  if (failed > 0 || records === 0) throw new Error(`${failed} requests failed, ${records} were logged`);
  return [
    ...compared(results.ours, results.peer, 'hand-written HAProxy, one route', 'at least 0.95 x'),
    ...compared(results.ours, results.gorouter, `gorouter, ${ROUTES} routes`, 'at least 2 x'),
  ];
}

export async function run(): Promise<Row[]> {
  const sink = await listen();
  try {
    return await withRouter((bed) => measure(bed, (sink.address() as AddressInfo).port));
  } finally {
    sink.close();
  }
}
