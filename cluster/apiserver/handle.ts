/** Every request's way: may the user do this, which kind is it, which verb; and every error's way to a Status. */
import type { KindDefinition } from '../kinds/kind.ts';
import { admitConnect } from './admission/connect.ts';
import { type Audit, observe } from './audit/observe.ts';
import type { ServiceAccountOptions } from './authenticators/service-account.ts';
import type { AuthenticateToken } from './authenticators/token.ts';
import { aggregate } from './aggregation/hand-on.ts';
import { authorize, mayVisit, refusePath } from './authorize.ts';
import { kindPrefix, objectKey } from './cache.ts';
import type { Core } from './core.ts';
import { create } from './create.ts';
import { remove, removeCollection } from './delete.ts';
import { discovery } from './discovery.ts';
import { methodNotAllowed, noSuchPath, notFound, StatusError, unauthorized } from './errors.ts';
import { evict } from './eviction.ts';
import { ANONYMOUS, type Exchange, send, sendError, sendJson, type User } from './exchange.ts';
import type { FlowControl } from './flow-control/flow-control.ts';
import { health, isHealthPath } from './health.ts';
import { issuerDiscovery } from './issuer-discovery.ts';
import { list } from './list.ts';
import { openApi } from './openapi.ts';
import { patch } from './patch.ts';
import { nodeProxy, podLog } from './pod-streams.ts';
import { respondObject } from './respond.ts';
import { review } from './reviews.ts';
import { parseResourcePath, type ResourceRequest } from './route.ts';
import { bind, scale } from './subresources.ts';
import { requestToken } from './token-request.ts';
import { showUsage } from './usage/show.ts';
import { asStatusError, update } from './update.ts';
import { watch } from './watch.ts';
import { isWorkloadProxy, workloadProxy } from './workload-proxy.ts';

export interface Handler {
  core: Core;
  flow: FlowControl;
  authenticateToken: AuthenticateToken;
  serviceAccounts: ServiceAccountOptions | undefined;
  audit: Audit | undefined;
  version: object;
}

/** Answers; never rejects. */
export async function handle(handler: Handler, asked: Exchange): Promise<void> {
  const { core } = handler;
  const exchange = handler.audit === undefined ? asked : observe(handler.audit, asked);
  const started = performance.now();
  let [verb, resource, code] = [exchange.method.toLowerCase(), '', 200];
  try {
    const request = parseResourcePath(exchange.method, exchange.path, exchange.query);
    if (request === undefined) await handlePath(handler, exchange);
    else {
      ({ verb } = request);
      // Any other name a client can think of would be counted for ever.
      if (core.registry.find(request.group, request.version, request.resource) !== undefined) ({ resource } = request);
      await handleResource(handler, exchange, request);
    }
  } catch (error) {
    const status = asStatusError(error);
    code = status.code;
    if (code >= 500 && code !== 501 && code !== 504)
      core.log('error', 'a request failed', { method: exchange.method, path: exchange.path, error: describe(error) });
    if (exchange.responder.started) exchange.responder.destroy();
    else sendError(exchange, status);
  }
  core.metrics.observe(verb, resource, code, (performance.now() - started) / 1000);
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function handlePath(handler: Handler, exchange: Exchange): Promise<void> {
  const { core } = handler;
  const { path, user, method } = exchange;
  checkKnown(user, path);
  if (!mayVisit(core, user, method === 'HEAD' ? 'get' : method.toLowerCase(), path))
    throw refusePath(user, method, path);
  if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed();
  if (isHealthPath(path)) return health(core, exchange);
  if (path === '/version') return sendJson(exchange, 200, handler.version);
  if (path === '/metrics') {
    const objects = new Map(
      core.registry
        .all()
        .filter((kind) => kind.computed !== true)
        .map((kind) => [kind.resource, core.cache.resource(kindPrefix(kind)).objects.size]),
    );
    const text = core.metrics.text({
      revision: core.cache.revision,
      objects,
      audit: handler.audit?.log,
      levels: handler.flow.counts(),
    });
    return send(exchange, 200, Buffer.from(text), 'text/plain; version=0.0.4');
  }
  if (path === '/')
    return sendJson(exchange, 200, {
      paths: ['/api', '/apis', '/healthz', '/livez', '/metrics', '/openapi/v2', '/openapi/v3', '/readyz', '/version'],
    });
  if (path.startsWith('/openapi/')) return openApi(core, exchange, path);
  const [, group, version] = /^\/apis\/([^/]+)\/([^/]+)\/?$/.exec(path) ?? [];
  const remote = core.aggregation.find(group ?? '', version ?? '');
  if (remote !== undefined) return aggregate(core, exchange, remote);
  if (/^\/apis?(\/|$)/.test(path)) return discovery(core, exchange, path);
  if (issuerDiscovery(exchange, handler.serviceAccounts)) return;
  throw noSuchPath();
}

/** Whoever is not known sees health and version, and finds the keys of the issuer where a role says so. */
function checkKnown(user: User, path: string): void {
  if (user !== ANONYMOUS || /^\/(healthz|livez|readyz|version|openid|\.well-known)(\/|$)/.test(path)) return;
  throw unauthorized();
}

async function handleResource(handler: Handler, exchange: Exchange, request: ResourceRequest): Promise<void> {
  const { core } = handler;
  if (request.resource === '') throw noSuchPath();
  authorize(core, exchange, request);
  const remote = core.aggregation.find(request.group, request.version);
  if (remote !== undefined) return aggregate(core, exchange, remote);
  if (await review(core, exchange, request, handler.authenticateToken)) return;
  if (request.group === '' && request.resource === 'bindings') return bind(core, exchange, request);
  const kind = core.registry.find(request.group, request.version, request.resource);
  if (kind === undefined) throw noSuchPath();
  if (kind.deprecation !== undefined) exchange.warnings.push(kind.deprecation);
  if (kind.verbs?.includes(request.verb) === false) throw methodNotAllowed();
  if (!kind.namespaced && request.namespace !== '') throw noSuchPath();
  if (kind.namespaced && request.namespace === '' && request.name !== '') throw noSuchPath();
  if (request.subresource !== '') return handleSubresource(handler, exchange, kind, request);
  if (kind.computed === true) return showUsage(core, exchange, kind, request);
  switch (request.verb) {
    case 'get':
      return get(core, exchange, kind, request);
    case 'list':
      return list(core, exchange, kind, request);
    case 'watch':
      return watch(core, exchange, kind, request);
    case 'create':
      if (request.name !== '') throw methodNotAllowed();
      return create(core, exchange, kind, request);
    case 'update':
      if (request.name === '') throw methodNotAllowed();
      return update(core, exchange, kind, request);
    case 'patch':
      if (request.name === '') throw methodNotAllowed();
      return patch(core, exchange, kind, request);
    case 'delete':
      return remove(core, exchange, kind, request);
    case 'deletecollection':
      return removeCollection(core, exchange, kind, request);
  }
}

function get(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  { namespace, name }: ResourceRequest,
): Promise<void> {
  const cached = core.cache.resource(kindPrefix(kind)).objects.get(objectKey(kind, namespace, name));
  if (cached === undefined) throw notFound(kind, name);
  return respondObject(core, exchange, kind, cached.bytes);
}

async function handleSubresource(
  handler: Handler,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const { core, serviceAccounts } = handler;
  const { subresource, verb } = request;
  const path = kind.group === '' ? `${kind.resource}/${subresource}` : '';
  if (path === 'pods/binding') return bind(core, exchange, request);
  if (path === 'serviceaccounts/token' && serviceAccounts !== undefined)
    return requestToken(core, exchange, request, serviceAccounts);
  if (path === 'pods/eviction') return evict(core, exchange, request);
  if (path === 'pods/log' && verb === 'get') return podLog(core, exchange, request);
  if (isWorkloadProxy(request)) {
    await admitConnect(core, exchange, request);
    return workloadProxy(core, exchange, request);
  }
  if (path === 'nodes/proxy' && verb === 'get') {
    await admitConnect(core, exchange, request);
    return nodeProxy(core, exchange, request);
  }
  if (path === 'pods/exec' || path === 'pods/attach')
    throw new StatusError(400, 'BadRequest', 'Upgrade request required: connect with WebSocket (v5.channel.k8s.io)');
  if (path === 'pods/portforward') throw new StatusError(400, 'BadRequest', 'Upgrade request required');
  if (subresource === 'scale') return scale(core, exchange, kind, request);
  const parts: Record<string, boolean> = {
    status: kind.subresources.status,
    approval: kind.subresources.approval === true,
    finalize: path === 'namespaces/finalize',
    ephemeralcontainers: path === 'pods/ephemeralcontainers',
  };
  if (!Object.hasOwn(parts, subresource) || parts[subresource] !== true) throw noSuchPath();
  if (verb === 'get') return get(core, exchange, kind, request);
  if (verb === 'update') return update(core, exchange, kind, request);
  if (verb === 'patch' && subresource !== 'finalize') return patch(core, exchange, kind, request);
  throw methodNotAllowed();
}
