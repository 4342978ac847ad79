/** What the router's tests share: a router on free ports in its own directories, apps, and requests to it. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import type { Backend, Endpoint, Route, Router, RouterOptions } from './model.ts';
import { openRouter, stopProxy } from './open.ts';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface App extends AsyncDisposable {
  server: Server;
  port: number;
  endpoint: Endpoint;
}

/** An app on a free port that answers with its name, unless `handle` does. */
export async function startApp(
  name: string,
  handle?: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<App> {
  const server = createServer(handle ?? ((_request, response) => response.end(name)));
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    server,
    port,
    endpoint: { name, ip: '127.0.0.1', port, instance: 0 },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface TestRouter extends AsyncDisposable {
  options: RouterOptions;
  router: Router;
  authority: string;
  /** A certificate of that authority. */
  issue(...dnsNames: string[]): Promise<KeyPair>;
  /** Everything the router logged, to look at when a test fails. */
  messages: string[];
  /** Opens the router again, after it was closed. */
  reopen(changes?: Partial<RouterOptions>): Promise<void>;
}

export async function startRouter(changes: Partial<RouterOptions> = {}): Promise<TestRouter> {
  const directory = await mkdtemp(join(tmpdir(), 'router-'));
  execFileSync('chmod', ['711', directory]);
  const authority = await createAuthority({ commonName: 'router-test', days: 1 });
  const issue = (...dnsNames: string[]): Promise<KeyPair> =>
    issueCertificate(authority, { commonName: dnsNames[0] ?? '', dnsNames, usages: ['server'], days: 1 });
  const pair = await issue('apps.test', '*.apps.test');
  const messages: string[] = [];
  const options: RouterOptions = {
    instance: `test-${process.pid}`,
    dataDirectory: join(directory, 'data'),
    runDirectory: join(directory, 'run'),
    listen: { http: 0, https: 0, address: '127.0.0.1' },
    certificate: pair.certificate + pair.key,
    serviceTls: { authorities: authority.certificate, verify: true },
    system: [],
    drainSeconds: 2,
    log: (level, message, fields) => messages.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    ...changes,
  };
  const test: TestRouter = {
    options,
    router: await openRouter(options).catch(async (error: unknown) => {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }),
    authority: authority.certificate,
    issue,
    messages,
    async reopen(more = {}) {
      await test.router.close();
      Object.assign(options, more);
      test.router = await openRouter(options);
    },
    async [Symbol.asyncDispose]() {
      await test.router.close();
      await stopProxy({ ...options, drainSeconds: 0 });
      await rm(directory, { recursive: true, force: true });
    },
  };
  return test;
}

export function get(
  router: Router,
  host: string,
  path = '/',
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      port: router.ports().http,
      path,
      method: options.method ?? 'GET',
      headers: { host, ...options.headers },
      agent: false,
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    sent.end(options.body);
  });
}

export function route(host: string, backend: string, path = '/'): Route {
  return { host, path, backend, id: `${host}${path}` };
}

export function backend(name: string, ...endpoints: Endpoint[]): Backend {
  return { name, endpoints };
}

/** Waits until the condition holds; tests have nothing better for what a proxy does by itself. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  patience = 60_000,
): Promise<void> {
  const deadline = Date.now() + patience;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited ${patience} ms in vain until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
