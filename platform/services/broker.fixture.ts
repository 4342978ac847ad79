/** A service broker for tests: obedient by itself, and hostile where a test says how it answers. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isDeepStrictEqual } from 'node:util';

type Json = Record<string, unknown>;

export interface Asked {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: IncomingMessage['headers'];
  body: Json;
}

export interface Told {
  status: number;
  /** As JSON, unless it is text. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** `hang`: never; `cut`: the connection ends in the middle; `undefined`: as an obedient broker does. */
export type Behaviour = Told | 'hang' | 'cut' | undefined;

export const PLAN = { id: 'small-id', name: 'small', description: 'A small one', schemas: {} };

export function catalogOf(change: Json = {}, plans: Json[] = [PLAN]): Json {
  const service = {
    id: 'db-id',
    name: 'db',
    description: 'Databases',
    bindable: true,
    plan_updateable: true,
    instances_retrievable: true,
    bindings_retrievable: true,
    tags: ['sql'],
    metadata: { shareable: true, documentationUrl: 'https://docs.example.com' },
    plans,
  };
  return { services: [{ ...service, ...change }] };
}

export class TestBroker implements AsyncDisposable {
  readonly username = 'broker';
  readonly password = 'very-secret-of-the-broker';
  catalog: unknown = catalogOf();
  /** Answers with 202, and is at it until `finish`. */
  isAsynchronous = false;
  /** What else it answers. */
  behave: (asked: Asked) => Behaviour = () => undefined;
  readonly asked: Asked[] = [];
  /** By path below `/v2/service_instances`: what was sent for it. */
  readonly instances = new Map<string, Json>();
  readonly bindings = new Map<string, Json>();
  /** Of what it is at. */
  readonly progress = new Map<string, { state: string; description: string; isDeletion: boolean }>();
  /** Seconds, with `last_operation`. */
  retryAfter: string | undefined;
  bound: Json = { credentials: { uri: 'db://user:bound-secret@host' } };
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      void this.#serve(request, response);
    });
  }

  async listen(): Promise<this> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What it was asked with this method, of paths that have this in them. */
  of(method: string, part = ''): Asked[] {
    return this.asked.filter((one) => one.method === method && one.path.includes(part));
  }

  /** Everything that it is at comes to its end. */
  finish(state: 'succeeded' | 'failed' = 'succeeded', description = `it ${state}`): void {
    for (const [path, one] of this.progress) {
      if (one.state !== 'in progress') continue;
      this.progress.set(path, { ...one, state, description });
      const things = path.includes('/service_bindings/') ? this.bindings : this.instances;
      if (one.isDeletion === (state === 'succeeded')) things.delete(path);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const url = new URL(request.url ?? '', 'http://broker');
    const asked: Asked = {
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text === '' ? {} : (JSON.parse(text) as Json),
    };
    this.asked.push(asked);
    const told = this.behave(asked) ?? this.#obey(asked);
    if (told === 'hang') return;
    if (told === 'cut') {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"credentials": {');
      response.flushHeaders();
      setImmediate(() => response.destroy());
      return;
    }
    const { status, body = {}, headers = {} } = told;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  }

  #obey(asked: Asked): Told {
    const login = Buffer.from(`${this.username}:${this.password}`).toString('base64');
    if (asked.headers.authorization !== `Basic ${login}`) return { status: 401 };
    if (asked.headers['x-broker-api-version'] !== '2.17') return { status: 412 };
    if (asked.path === '/v2/catalog') return { status: 200, body: this.catalog };
    if (asked.path.endsWith('/last_operation')) return this.#lastOperation(asked.path.replace(/\/last_operation$/, ''));
    const things = asked.path.includes('/service_bindings/') ? this.bindings : this.instances;
    const made = things.get(asked.path);
    if (asked.method === 'PUT') return this.#put(asked, things);
    if (made === undefined) return { status: asked.method === 'DELETE' ? 410 : 404 };
    if (asked.method === 'GET') {
      const parameters = (made.parameters ?? {}) as Json;
      return { status: 200, body: things === this.bindings ? { ...this.bound, parameters } : { parameters } };
    }
    const isDeletion = asked.method === 'DELETE';
    if (this.isAsynchronous) return this.#accept(asked.path, isDeletion);
    if (isDeletion) things.delete(asked.path);
    else things.set(asked.path, { ...made, ...asked.body });
    return { status: 200, body: isDeletion ? {} : { dashboard_url: 'https://dashboard.example.com/updated' } };
  }

  #put({ path, body }: Asked, things: Map<string, Json>): Told {
    const made = things.get(path);
    const answer = things === this.bindings ? this.bound : { dashboard_url: 'https://dashboard.example.com/db' };
    if (made && this.progress.get(path)?.state === 'in progress') return { status: 202, body: { operation: 'op 1' } };
    if (made) return isDeepStrictEqual(made, body) ? { status: 200, body: answer } : { status: 409 };
    things.set(path, body);
    return this.isAsynchronous ? this.#accept(path, false) : { status: 201, body: answer };
  }

  #accept(path: string, isDeletion: boolean): Told {
    this.progress.set(path, { state: 'in progress', description: 'it is at it', isDeletion });
    return { status: 202, body: { operation: 'op 1' } };
  }

  #lastOperation(path: string): Told {
    const found = this.progress.get(path);
    if (!found) return { status: 410 };
    const { state, description } = found;
    const headers: Record<string, string> = this.retryAfter === undefined ? {} : { 'retry-after': this.retryAfter };
    return { status: 200, body: { state, description }, headers };
  }
}
