/**
 * `pods/proxy` and `services/proxy`: requests that this server hands on to a pod, by its IP, and answers as they come back
 * (Kubernetes API, "Proxy operations"). The object's name may carry a scheme and a port: `https:web:8443`.
 *
 * Not handed on: the client's login, which is for this server alone. Links in HTML pages lead through the proxy (`html-links.ts`).
 * Connections that change their protocol are in `upgrade.ts`.
 */
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { endpointSlices, pods, services } from '../kinds/resources.ts';
import type { EndpointSlice } from '../kinds/types/discovery.ts';
import type { Pod, Service } from '../kinds/types/core.ts';
import { kindPrefix, objectKey, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { badRequest, notFound, StatusError } from './errors.ts';
import { type Exchange, header } from './exchange.ts';
import { HtmlLinks } from './html-links.ts';
import type { ResourceRequest } from './route.ts';

export interface Place {
  secure: boolean;
  host: string;
  port: number;
}

interface Name {
  secure: boolean;
  name: string;
  port: string;
}

const CONNECT_TIMEOUT = 30_000;
/** Of one connection, or of the login here. */
const OWN_HEADERS = new Set([
  ...[
    'authorization',
    'connection',
    'host',
    'keep-alive',
    'proxy-authenticate',
    'proxy-authorization',
    'te',
    'trailer',
  ],
  ...['transfer-encoding', 'upgrade'],
]);

export async function workloadProxy(core: Core, exchange: Exchange, request: ResourceRequest): Promise<void> {
  const rest = restOf(exchange.path);
  if (rest === '' && (exchange.method === 'GET' || exchange.method === 'HEAD')) {
    const query = exchange.query.size === 0 ? '' : `?${exchange.query.toString()}`;
    exchange.responder.head(301, { location: `${exchange.path}/${query}`, 'content-length': '0' });
    return exchange.responder.end();
  }
  const place = placeOf(core, request, exchange.path);
  await handOn(exchange, {
    ...place,
    headers: forwarded(exchange),
    // A redirect within the pod leads through the proxy again.
    relocated: (location) => relocated(location, [place.authority, header(exchange, 'host')], exchange.path),
  });
}

export function isWorkloadProxy({ group, resource, subresource }: ResourceRequest): boolean {
  return group === '' && subresource === 'proxy' && (resource === 'pods' || resource === 'services');
}

/** Where a request leads, and with which path there. Throws what is answered instead. */
export function placeOf(
  core: Core,
  request: ResourceRequest,
  requestPath: string,
): Place & { authority: string; path: string } {
  const name = parseName(request.name);
  const place =
    request.resource === 'pods' ? podPlace(core, request.namespace, name) : servicePlace(core, request.namespace, name);
  const { host, port } = place;
  if (!isProxyable(host)) throw badRequest('address not allowed');
  return { ...place, authority: `${isIPv6(host) ? `[${host}]` : host}:${port}`, path: restOf(requestPath) || '/' };
}

export function unreachable(cause: Error): StatusError {
  return serviceUnavailable(`error trying to reach service: ${cause.message}`);
}

/** What follows `/proxy`, as it came: a decoded path would mean something else. */
function restOf(path: string): string {
  return /^(?:\/[^/]*){7}(.*)$/.exec(path)?.[1] ?? '';
}

function parseName(text: string): Name {
  const parts = text.split(':');
  const [scheme, name, port] = parts.length === 3 ? parts : ['', parts[0], parts[1] ?? ''];
  if (parts.length > 3 || !name || (scheme !== '' && scheme !== 'http' && scheme !== 'https'))
    throw badRequest(`invalid request ${JSON.stringify(text)}: write [http: or https:]name[:port]`);
  return { secure: scheme === 'https', name, port: port ?? '' };
}

function podPlace(core: Core, namespace: string, { secure, name, port }: Name): Place {
  const found = find<Pod>(core, pods, namespace, name);
  if (found === undefined) throw notFound(pods, name);
  const host = found.status?.podIP;
  if (!host) throw badRequest(`pod ${name} has no IP address yet`);
  const usual = found.spec?.containers.find(({ ports = [] }) => ports.length > 0)?.ports?.[0]?.containerPort;
  const number = port === '' ? (usual ?? (secure ? 443 : 80)) : Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535)
    throw badRequest(`port ${JSON.stringify(port)} of pod ${name} is not a number from 1 to 65535`);
  return { secure, host, port: number };
}

/** One of the ready endpoints, by chance. */
export function servicePlace(core: Core, namespace: string, { secure, name, port }: Name): Place {
  const service = find<Service>(core, services, namespace, name);
  if (service === undefined) throw notFound(services, name);
  const all = service.spec?.ports ?? [];
  const wanted = port === '' ? all[0] : all.find((one) => one.name === port || String(one.port) === port);
  if (wanted === undefined || (port === '' && all.length > 1 && all.every((one) => one.name)))
    throw serviceUnavailable(`no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`);
  const ready = [...slicesOf(core, namespace, name)].flatMap(({ endpoints, ports = [] }) => {
    const number = ports.find((one) => (one.name ?? '') === (wanted.name ?? ''))?.port;
    if (number === undefined) return [];
    return (endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false)
      .flatMap(({ addresses }) => addresses.slice(0, 1).map((host) => ({ host, port: number })));
  });
  const chosen = ready[Math.floor(Math.random() * ready.length)];
  if (chosen === undefined) throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  return { secure, ...chosen };
}

function* slicesOf(core: Core, namespace: string, service: string): Generator<EndpointSlice> {
  const prefix = `${kindPrefix(endpointSlices)}${namespace}/`;
  for (const [key, cached] of core.cache.resource(kindPrefix(endpointSlices)).objects) {
    if (!key.startsWith(prefix)) continue;
    const slice = objectOf(cached) as unknown as EndpointSlice;
    if (slice.metadata.labels?.['kubernetes.io/service-name'] === service) yield slice;
  }
}

function find<T>(
  core: Core,
  kind: { group: string; version: string; resource: string },
  namespace: string,
  name: string,
) {
  const definition = core.registry.find(kind.group, kind.version, kind.resource);
  if (definition === undefined) return undefined;
  const cached = core.cache.resource(kindPrefix(definition)).objects.get(objectKey(definition, namespace, name));
  return cached === undefined ? undefined : (objectOf(cached) as T);
}

function serviceUnavailable(message: string): StatusError {
  return new StatusError(503, 'ServiceUnavailable', message);
}

export interface HandedOn extends Place {
  authority: string;
  path: string;
  /** Besides the client's. */
  headers: Record<string, string | string[]>;
  /** How to know the server; a pod's certificate is its own, which upstream does not check either. */
  tls?: ConnectionOptions;
  /** Of redirects, and of links in pages: where they lead for the client. Without it they come as they are. */
  relocated?: (location: string) => string;
  onUnreachable?: () => void;
}

/** Hands a request on, and its answer back as it comes. */
export async function handOn(exchange: Exchange, to: HandedOn): Promise<void> {
  const { secure, host, port, authority, path } = to;
  const { responder, query } = exchange;
  const outgoing = (secure ? https : http).request({
    host,
    port,
    method: exchange.method,
    path: query.size === 0 ? path : `${path}?${query.toString()}`,
    headers: { ...handedOn(exchange.headers), host: authority, ...to.headers },
    // A connection that is kept may be closed by the other side just when it is used again.
    agent: false,
    rejectUnauthorized: false,
    ...to.tls,
  });
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  outgoing.on('response', resolve);
  outgoing.on('error', (cause) => {
    if (!responder.started) to.onUnreachable?.();
    reject(unreachable(cause));
  });
  outgoing.setTimeout(CONNECT_TIMEOUT, () => outgoing.destroy(new Error(`${authority} does not answer`)));
  responder.onClose(() => outgoing.destroy());
  if (exchange.stream === undefined) outgoing.end(await exchange.body());
  else exchange.stream().pipe(outgoing);
  const answer = await promise;
  outgoing.setTimeout(0);
  const headers = handedOn(answer.headers);
  const location = answer.headers.location;
  if (location !== undefined && to.relocated !== undefined) headers['location'] = to.relocated(location);
  const hasBody = exchange.method !== 'HEAD' && location === undefined && answer.headers['content-length'] !== '0';
  const body = hasBody && to.relocated !== undefined ? withLinks(answer, to.relocated) : answer;
  if (body !== answer) delete headers['content-length'];
  responder.head(answer.statusCode ?? 502, headers);
  body.on('data', (chunk: Buffer) => {
    if (!responder.write(chunk)) body.pause();
  });
  responder.onDrain(() => body.resume());
  body.on('end', () => responder.end());
  body.on('error', () => responder.destroy());
}

/** A page that can be read; anything else as it comes. */
function withLinks(answer: IncomingMessage, lead: (link: string) => string): Readable {
  const type = (answer.headers['content-type'] ?? '').split(';')[0] ?? '';
  const packed = answer.headers['content-encoding'] ?? '';
  if (type.trim().toLowerCase() !== 'text/html' || (packed !== '' && packed !== 'gzip')) return answer;
  const links = new HtmlLinks(lead);
  const stages = packed === '' ? [links] : [createGunzip(), links, createGzip()];
  // What goes wrong on the way is told by the last one's error.
  return pipeline([answer, ...stages], () => undefined) as unknown as Readable;
}

/**
 * Who may write a pod's status or an EndpointSlice must not lead this server to what only it reaches: its own loopback, or the
 * metadata services of clouds.
 */
const ownAddresses = new BlockList();
for (const [network, prefix, family] of [
  ['0.0.0.0', 8, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['::', 127, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
] as const)
  ownAddresses.addSubnet(network, prefix, family);

/** Exported for its test. */
export function isProxyable(host: string): boolean {
  const version = isIP(host);
  return version !== 0 && !ownAddresses.check(host, version === 4 ? 'ipv4' : 'ipv6');
}

function handedOn(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const given: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && !OWN_HEADERS.has(name) && !/^(impersonate|x-remote)-/.test(name)) given[name] = value;
  return given;
}

function forwarded({ path, sourceAddress }: Exchange): Record<string, string> {
  return {
    'x-forwarded-uri': path,
    'x-forwarded-proto': 'https',
    ...(sourceAddress === undefined ? {} : { 'x-forwarded-for': sourceAddress }),
  };
}

/** An address within the pod leads through the proxy again, unless it does so already. */
function relocated(location: string, own: readonly string[], path: string): string {
  const proxy = path.slice(0, path.length - restOf(path).length);
  const [, authority, rest = location] = /^(?:https?:)?\/\/([^/?#]*)(.*)$/s.exec(location) ?? [];
  if (authority === undefined ? !rest.startsWith('/') : !own.includes(authority)) return location;
  return rest.startsWith(`${proxy}/`) ? rest : `${proxy}${rest.startsWith('/') ? '' : '/'}${rest}`;
}
