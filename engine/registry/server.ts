/**
 * The node's registry: OCI distribution-spec 1.1 over HTTPS, on the engine's content store. Every request carries its
 * credentials (HTTP basic); what they allow is the caller's `authorize` to say, for each request anew.
 */
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { isRepository } from '../images/reference.ts';
import type { ContentStore } from '../images/store.ts';
import { RegistryError } from './errors.ts';
import { deleteBlob, getBlob } from './blobs.ts';
import { type Exchange, type RegistryAction, type RegistryRequest } from './exchange.ts';
import { deleteManifest, getManifest, listReferrers, listRepositories, listTags, putManifest } from './manifests.ts';
import { deleteUpload, getUpload, patchUpload, putUpload, startUpload } from './uploads.ts';

export interface RegistryOptions {
  content: ContentStore;
  /** Port 0 takes a free one. */
  listen: { host: string; port: number };
  /** PEM. */
  tls: { cert: string; key: string };
  /** Without a repository: whether the credentials are somebody's at all. */
  authorize: (request: RegistryRequest) => boolean | Promise<boolean>;
  /** After a manifest was stored; `reference` is the tag or the digest that it was pushed under. */
  onPush?: (repository: string, reference: string, digest: string) => void;
  /** A request that failed for no fault of its client. */
  onError?: (error: unknown) => void;
  signal?: AbortSignal;
}

export interface Registry {
  port: number;
  /** Takes no more requests, lets those under way end for 2 s, and then cuts them. */
  close(): Promise<void>;
}

export async function startRegistry(options: RegistryOptions): Promise<Registry> {
  options.signal?.throwIfAborted();
  const server = createServer({
    cert: options.tls.cert,
    key: options.tls.key,
    keepAliveTimeout: 60_000,
    requestTimeout: 0,
    headersTimeout: 30_000,
  });
  // Large uploads take their time; a client that sends nothing for two minutes is gone.
  server.timeout = 120_000;
  server.on('request', (request, response) => {
    handle(options, request, response).catch((error: unknown) => fail(options, request, response, error));
  });
  server.listen(options.listen.port, options.listen.host);
  await once(server, 'listening');
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    const cut = setTimeout(() => server.closeAllConnections(), 2000);
    await closed;
    clearTimeout(cut);
  };
  options.signal?.addEventListener('abort', () => void close(), { once: true });
  return { port: (server.address() as AddressInfo).port, close };
}

interface Route {
  methods: readonly string[];
  /** First group: the repository; second: the reference. */
  path: RegExp;
  action: RegistryAction;
  handle: (exchange: Exchange) => Promise<void>;
}

/** How much of a body that was refused is still taken from the wire. */
const LARGEST_WASTE = 64 * 1024 * 1024;

const READ = ['GET', 'HEAD'] as const;

/** In the order that they are tried. `docs` of every endpoint: distribution-spec 1.1, "Endpoints". */
const ROUTES: readonly Route[] = [
  { methods: READ, path: /^\/v2\/_catalog$/, action: 'catalog', handle: listRepositories },
  { methods: READ, path: /^\/v2\/(.+)\/tags\/list$/, action: 'pull', handle: listTags },
  { methods: READ, path: /^\/v2\/(.+)\/manifests\/([^/]+)$/, action: 'pull', handle: getManifest },
  { methods: ['PUT'], path: /^\/v2\/(.+)\/manifests\/([^/]+)$/, action: 'push', handle: putManifest },
  { methods: ['DELETE'], path: /^\/v2\/(.+)\/manifests\/([^/]+)$/, action: 'delete', handle: deleteManifest },
  { methods: READ, path: /^\/v2\/(.+)\/referrers\/([^/]+)$/, action: 'pull', handle: listReferrers },
  { methods: ['POST'], path: /^\/v2\/(.+)\/blobs\/uploads\/?$/, action: 'push', handle: startUpload },
  { methods: ['GET'], path: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/, action: 'push', handle: getUpload },
  { methods: ['PATCH'], path: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/, action: 'push', handle: patchUpload },
  { methods: ['PUT'], path: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/, action: 'push', handle: putUpload },
  { methods: ['DELETE'], path: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/, action: 'push', handle: deleteUpload },
  { methods: READ, path: /^\/v2\/(.+)\/blobs\/([^/]+)$/, action: 'pull', handle: getBlob },
  { methods: ['DELETE'], path: /^\/v2\/(.+)\/blobs\/([^/]+)$/, action: 'delete', handle: deleteBlob },
];

async function handle(options: RegistryOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader('docker-distribution-api-version', 'registry/2.0');
  const [rawPath = '', rawQuery = ''] = (request.url ?? '').split('?', 2);
  const path = decodePath(rawPath);
  const credentials = parseBasic(request.headers.authorization);
  const method = request.method ?? '';

  if (path === '/v2/' || path === '/v2') {
    if (!(await options.authorize({ ...credentials, action: 'pull' }))) throw unauthorized();
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': 2 })
      .end(method === 'HEAD' ? undefined : '{}');
    return;
  }
  const fitting = ROUTES.filter((route) => route.path.test(path));
  const route = fitting.find((candidate) => candidate.methods.includes(method));
  if (route === undefined) {
    if (!(await options.authorize({ ...credentials, action: 'pull' }))) throw unauthorized();
    if (fitting.length === 0) throw new RegistryError('NAME_UNKNOWN', 'no such endpoint', { detail: { path } });
    throw new RegistryError('UNSUPPORTED', `${method} is not supported here`, {
      headers: { allow: [...new Set(fitting.flatMap(({ methods }) => methods))].join(', ') },
    });
  }
  const [, repository = '', reference = ''] = route.path.exec(path) ?? [];
  if (repository !== '' && !isRepository(repository)) {
    throw new RegistryError('NAME_INVALID', 'invalid repository name', { detail: { name: repository } });
  }
  const allows = async (action: RegistryAction, of: string) =>
    await options.authorize({ ...credentials, ...(of === '' ? {} : { repository: of }), action });
  if (!(await allows(route.action, repository))) {
    // Nobody we know is asked for a password; somebody we know has no right.
    if (credentials.username === undefined || !(await options.authorize({ ...credentials, action: 'pull' })))
      throw unauthorized();
    throw new RegistryError('DENIED', 'requested access to the resource is denied', {
      detail: { name: repository, action: route.action },
    });
  }
  await route.handle({
    content: options.content,
    request,
    response,
    query: new URLSearchParams(rawQuery),
    repository,
    reference,
    allows,
    pushed: (...push) => options.onPush?.(...push),
  });
}

function fail(options: RegistryOptions, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const gone = response.headersSent || request.socket.destroyed;
  const known = error instanceof RegistryError;
  if (!known && !request.socket.destroyed) options.onError?.(error);
  if (gone) {
    response.destroy();
    return;
  }
  const refusal = known
    ? error
    : new RegistryError('UNKNOWN', 'the registry failed; its log says why', { status: isDiskFull(error) ? 507 : 500 });
  const body = Buffer.from(refusal.body());
  // The rest of a refused body is read away, so that the client gets to the answer; but not without end.
  let wasted = 0;
  request.on('data', (chunk: Buffer) => {
    wasted += chunk.length;
    if (wasted > LARGEST_WASTE) request.socket.destroy();
  });
  response.writeHead(refusal.status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...refusal.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function unauthorized(): RegistryError {
  return new RegistryError('UNAUTHORIZED', 'authentication required', {
    headers: { 'www-authenticate': 'Basic realm="registry"' },
  });
}

/** RFC 7617. */
function parseBasic(header: string | undefined): { username?: string; password?: string } {
  const encoded = /^basic ([A-Za-z0-9+/=_-]+)$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return {};
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? {} : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function decodePath(path: string): string {
  if (path.length > 2048) throw new RegistryError('NAME_INVALID', 'the path is longer than 2048 characters');
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    throw new RegistryError('NAME_INVALID', 'the path is not well encoded', { cause });
  }
}

function isDiskFull(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'ENOSPC';
}
