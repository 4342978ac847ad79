/**
 * The node's registry: OCI distribution-spec 1.1 over HTTPS, on the engine's content store. A request carries a user's
 * name and password (HTTP basic), or a token that the registry gave for them, or nothing. What they allow is for
 * `authorize` alone to say: for each request anew, or when the token is made.
 */
import { createServer } from 'node:https';
import { DEFAULT_CIPHERS } from 'node:tls';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { isRepository } from '../images/reference.ts';
import type { PullThrough } from '../images/pull-through.ts';
import type { ContentStore } from '../images/store.ts';
import { RegistryError } from './errors.ts';
import { deleteBlob, getBlob } from './blobs.ts';
import { callerOf, type Doorkeeper, TOKEN_PATH, unauthorized } from './caller.ts';
import { type Exchange, type RegistryAction, type RegistryRequest } from './exchange.ts';
import { deleteManifest, getManifest, listReferrers, listRepositories, listTags, putManifest } from './manifests.ts';
import { requireOwn } from './mirrored.ts';
import { answerToken } from './token-endpoint.ts';
import { tokenKey } from './tokens.ts';
import { deleteUpload, getUpload, patchUpload, putUpload, startUpload } from './uploads.ts';

export interface RegistryOptions {
  content: ContentStore;
  /** Serves repositories of other registries from the same store. */
  cache?: PullThrough;
  /** Port 0 takes a free one. */
  listen: { host: string; port: number };
  /** PEM. */
  tls: { cert: string; key: string };
  /**
   * Without a repository: whether the credentials are somebody's at all; with no user name either: whether anybody may
   * come in. With a repository and no user name: what anybody may do there.
   */
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
    ciphers: CIPHERS,
    honorCipherOrder: true,
    keepAliveTimeout: 60_000,
    requestTimeout: 0,
    headersTimeout: 30_000,
  });
  // Large uploads take their time; a client that sends nothing for two minutes is gone.
  server.timeout = 120_000;
  const keeper: Doorkeeper = { authorize: options.authorize, tokenKey: tokenKey(options.tls.key), service: SERVICE };
  server.on('request', (request, response) => {
    handle(options, keeper, request, response).catch((error: unknown) => fail(options, request, response, error));
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

/** The cheapest that is safe first: a layer of 200 MB spends most of its way in it. */
const CIPHERS = `TLS_AES_128_GCM_SHA256:${DEFAULT_CIPHERS}`;

const SERVICE = 'registry';

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

async function handle(
  options: RegistryOptions,
  keeper: Doorkeeper,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('docker-distribution-api-version', 'registry/2.0');
  const [rawPath = '', rawQuery = ''] = (request.url ?? '').split('?', 2);
  const path = decodePath(rawPath);
  const method = request.method ?? '';
  const query = new URLSearchParams(rawQuery);
  if (path === TOKEN_PATH && ['GET', 'POST'].includes(method)) return answerToken(keeper, request, response, query);

  const caller = callerOf(keeper, request);
  if (path === '/v2/' || path === '/v2') {
    if (!(await caller.isKnown())) throw unauthorized(keeper, request);
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': 2 })
      .end(method === 'HEAD' ? undefined : '{}');
    return;
  }
  const fitting = ROUTES.filter((route) => route.path.test(path));
  const route = fitting.find((candidate) => candidate.methods.includes(method));
  if (route === undefined) {
    if (!(await caller.isKnown())) throw unauthorized(keeper, request);
    if (fitting.length === 0) throw new RegistryError('NAME_UNKNOWN', 'no such endpoint', { detail: { path } });
    throw new RegistryError('UNSUPPORTED', `${method} is not supported here`, {
      headers: { allow: [...new Set(fitting.flatMap(({ methods }) => methods))].join(', ') },
    });
  }
  const [, repository = '', reference = ''] = route.path.exec(path) ?? [];
  if (repository !== '' && !isRepository(repository)) {
    throw new RegistryError('NAME_INVALID', 'invalid repository name', { detail: { name: repository } });
  }
  if (!(await caller.allows(route.action, repository))) throw await caller.refusal(route.action, repository);
  const exchange: Exchange = {
    content: options.content,
    ...(options.cache === undefined ? {} : { cache: options.cache }),
    request,
    response,
    query,
    repository,
    reference,
    caller,
    pushed: (...push) => options.onPush?.(...push),
  };
  if (route.action === 'push') requireOwn(exchange);
  await route.handle(exchange);
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
