/** An API server over a real store and real TLS, spoken to without any client of ours: raw HTTPS, and stock kubectl. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type ApiServer, type ApiServerOptions, startApiServer } from '#cluster/apiserver/server.ts';
import type { ApiObject } from '#cluster/kinds/kind.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import type { Store } from '#cluster/store/store.ts';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
  bytes: Buffer;
  /** The body as JSON; an empty object when it is none. */
  json: ApiObject & { items: ApiObject[]; message: string; reason: string; [field: string]: unknown };
}

export interface CallOptions {
  body?: unknown;
  headers?: Record<string, string>;
  /** Default: the administrator. `null`: nobody. */
  as?: KeyPair | null;
}

export interface WatchedEvent {
  type: string;
  object: ApiObject & { [field: string]: unknown };
}

export interface FixtureOptions extends Partial<ApiServerOptions> {
  /** Put between the server and its disk. */
  wrapStore?: (disk: Store) => Store;
}

export interface ApiFixture {
  api: ApiServer;
  store: Store;
  directory: string;
  authority: KeyPair;
  issue(commonName: string, organizations?: string[]): Promise<KeyPair>;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** The answer as it comes. */
  open(method: string, path: string, options?: CallOptions): Promise<IncomingMessage>;
  /** Events as they come; ends when the server ends the watch. Leaving the loop closes it. */
  watch(path: string, options?: CallOptions): Promise<AsyncGenerator<WatchedEvent>>;
  kubectl(
    args: string[],
    options?: { input?: string; binary?: string; as?: KeyPair | { token: string } },
  ): Promise<{ code: number; out: string; err: string }>;
  /** Stops the server and starts another one over the same store. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function apiFixture({ wrapStore, ...further }: FixtureOptions = {}): Promise<ApiFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-apiserver-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const issue = (commonName: string, organizations: string[] = []) =>
    issueCertificate(authority, {
      commonName,
      organizations,
      ips: ['127.0.0.1'],
      usages: ['server', 'client'],
      days: 1,
    });
  const [server, admin] = await Promise.all([issue('kubernetes'), issue('admin', ['system:masters'])]);
  const disk = await openSqliteStore({ path: join(directory, 'store.db') });
  const store = wrapStore?.(disk) ?? disk;
  const start = (port: number) =>
    startApiServer({
      store,
      host: '127.0.0.1',
      port,
      tls: { ...server, clientCa: authority.certificate },
      agentClient: { ...admin, ca: authority.certificate },
      serviceCidr: '10.96.0.0/24',
      advertiseAddress: '192.0.2.1',
      ...further,
      authenticateToken: async (token) => (token === 'good' ? { name: 'jane', groups: ['system:masters'] } : undefined),
    });
  let api = await start(0);
  const { port } = api;
  const agent = new https.Agent({ keepAlive: true });
  const open = (
    method: string,
    path: string,
    { body, headers, as = admin }: CallOptions = {},
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const identity = as === null ? {} : { cert: as.certificate, key: as.key };
      const sent =
        body === undefined || Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body);
      const request = https.request({
        host: '127.0.0.1',
        port,
        path,
        method,
        agent,
        ca: authority.certificate,
        ...identity,
        headers: {
          ...(sent === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(sent)) }),
          ...headers,
        },
      });
      request.on('response', resolve);
      request.on('error', reject);
      request.end(sent);
    });
  const kubeconfig = join(directory, 'kubeconfig');
  await writeFile(kubeconfig, kubeconfigText(port, authority.certificate, admin));
  return {
    get api() {
      return api;
    },
    store,
    directory,
    authority,
    issue,
    open,
    async call(method, path, options = {}) {
      const message = await open(method, path, options);
      const chunks: Buffer[] = [];
      for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      const text = bytes.toString();
      let json = {} as Answer['json'];
      if (message.headers['content-type']?.includes('json') && message.headers['content-encoding'] === undefined)
        json = JSON.parse(text) as Answer['json'];
      return { status: message.statusCode ?? 0, headers: message.headers, text, bytes, json };
    },
    async watch(path, options = {}) {
      const message = await open('GET', path, options);
      if (message.statusCode !== 200) {
        message.destroy();
        throw new Error(`watch ${path}: ${message.statusCode}`);
      }
      return eventsOf(message);
    },
    async kubectl(args, { input = '', binary = 'kubectl', as } = {}) {
      let config = kubeconfig;
      if (as !== undefined) {
        config = `${kubeconfig}-${randomUUID()}`;
        await writeFile(config, kubeconfigText(port, authority.certificate, as));
      }
      return run(binary, args, input, { ...process.env, KUBECONFIG: config, KUBECACHEDIR: join(directory, 'cache') });
    },
    async restart() {
      await api.close();
      agent.destroy();
      api = await start(port);
    },
    async close() {
      agent.destroy();
      await api.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function* eventsOf(message: IncomingMessage): AsyncGenerator<WatchedEvent> {
  try {
    for await (const line of createInterface({ input: message })) yield JSON.parse(line) as WatchedEvent;
  } finally {
    message.destroy();
  }
}

/** The next events of a watch, with what is asked of each. */
export async function take(events: AsyncGenerator<WatchedEvent>, count: number): Promise<WatchedEvent[]> {
  const taken: WatchedEvent[] = [];
  while (taken.length < count) {
    const { value, done } = await events.next();
    if (done === true) throw new Error(`the watch ended after ${taken.length} events, expected ${count}`);
    taken.push(value);
  }
  return taken;
}

function kubeconfigText(port: number, ca: string, as: KeyPair | { token: string }): string {
  const encode = (text: string) => Buffer.from(text).toString('base64');
  const user =
    'token' in as ? as : { 'client-certificate-data': encode(as.certificate), 'client-key-data': encode(as.key) };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [
      { name: 'test', cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': encode(ca) } },
    ],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  });
}

function run(
  command: string,
  args: string[],
  input: string,
  env: NodeJS.ProcessEnv,
): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, timeout: 60_000 });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, out, err }));
    child.stdin.end(input);
  });
}
