/**
 * What benches of the router share: 10,000 routes to 400 apps, an app, and the client. The app is a HAProxy too, that answers by itself,
 * so that it is never what is measured; the client is wrk, with 2 threads and 32 kept connections.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { freePort } from '#lib/ports.ts';
import type { Router, RouterOptions, RoutingTable } from '#platform/router/model.ts';
import { openRouter, stopProxy } from '#platform/router/open.ts';
import { installPeer } from './peers.ts';

export const ROUTES = 10_000;
export const APPS = 400;
/** Of the host that is loaded. */
export const HOST = 'app-7.bench.test';
const command = promisify(execFile);

export interface RouterBed {
  directory: string;
  /** The port of every app, on the loopback. */
  app: number;
  options: RouterOptions;
  router: Router;
  /** What the router was told. */
  table: RoutingTable;
  /** Starts one more HAProxy, which ends with the bed; resolves when it listens on the port. */
  haproxy: (name: string, config: string, port: number) => Promise<void>;
}

export async function withRouter<T>(work: (bed: RouterBed) => Promise<T>): Promise<T> {
  installPeer('haproxy', 'haproxy');
  installPeer('wrk', 'wrk');
  const directory = await mkdtemp(join(tmpdir(), 'bench-router-'));
  const options = await routerOptions(directory);
  const children: ChildProcess[] = [];
  const haproxy = async (name: string, config: string, port: number) =>
    void children.push(await startHaproxy(join(directory, `${name}.cfg`), config, port));
  try {
    const app = await freePort();
    const answers = `defaults\n  mode http\n  timeout client 60s\nfrontend app\n  bind 127.0.0.1:${app}\n  http-request return status 200 content-type text/plain string "hello from the app"\n`;
    await haproxy('app', answers, app);
    const router = await openRouter(options);
    const table = tableOf(app);
    await router.apply(table);
    try {
      return await work({ directory, app, options, router, table, haproxy });
    } finally {
      await router.close();
    }
  } finally {
    for (const child of children) child.kill();
    await stopProxy(options);
    await rm(directory, { recursive: true, force: true });
  }
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

function tableOf(app: number): RoutingTable {
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

async function startHaproxy(file: string, config: string, port: number): Promise<ChildProcess> {
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
  child.kill();
  throw new Error(`HAProxy does not listen on ${port}`);
}

export interface Load {
  perSecond: number;
  /** Milliseconds. */
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
