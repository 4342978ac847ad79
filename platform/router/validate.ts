/**
 * What may reach the proxy: names, addresses and paths go into configuration lines, map files and commands, so each is
 * checked against the narrow form that needs no quoting there. Everything else is refused with a `RouterError` `invalid`
 * that quotes the value and says what is expected.
 */
import { isIP } from 'node:net';
import { checkCertificate } from './haproxy/certificates.ts';
import {
  type Backend,
  type Endpoint,
  type HostCertificate,
  type Route,
  RouterError,
  type RouteService,
  type RoutingTable,
} from './model.ts';

const NAME = /^[a-z0-9-]{1,63}$/;
const HOST = /^(\*\.)?[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*$/;
/** RFC 3986 `pchar`s in segments, no empty segment, no trailing slash. */
const PATH = /^(\/|(\/[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+)$/;
/** As a whole, so the slash at the end may count. */
const EXACT_PATH = /^\/([A-Za-z0-9._~%!$&'()*+,;=:@-]+\/)*[A-Za-z0-9._~%!$&'()*+,;=:@-]*$/;
const CHALLENGE = /^\/\.well-known\/acme-challenge\/[A-Za-z0-9_-]{1,512}$/;
const ANSWER = /^[A-Za-z0-9._-]{1,1024}$/;
const KEY_ID = /^[a-z0-9]{1,32}$/;
const KEY = /^[A-Za-z0-9+/]{43}=$/;
/** No login, no fragment, and nothing that a map's line or the proxy's own bar could end with. */
const SERVICE_URL = /^https:\/\/[^/@|\s]+\/[!$-;=?-\]_a-z~%]*$/;
const MAX_SERVICE_URL = 2048;
const ANY_HOST = '*';
const MAX_HOST = 253;
const MAX_PATH = 512;

const HEADER = /^[a-z0-9_-]{1,128}$/;
/** HAProxy's, where requests are counted at all. */
export const HASH_FACTORS = { min: 101, max: 1_000_000 };

const HOST_EXPECTED = 'a host name in lower case, at most 253 characters, or "*." and one';

function invalid(what: string, value: unknown, expected: string): RouterError {
  return new RouterError('invalid', `Cannot route: ${what} is ${JSON.stringify(value)}, expected ${expected}`);
}

/** Objects are looked at once: of ten thousand routes one changes. They are never changed in place. */
const right = new WeakSet<Endpoint>();

/** Of routes that have been looked at. */
const keys = new WeakMap<Route, string>();

/**
 * Throws unless the route's host and path can be served. Does not look whether its backend exists.
 * @returns what two routes must not both have
 */
export function checkRoute(route: Route): string {
  const known = keys.get(route);
  if (known !== undefined) return known;
  if (route.host !== ANY_HOST && !isHost(route.host)) throw invalid('"host"', route.host, HOST_EXPECTED);
  const paths = route.exact === true ? EXACT_PATH : PATH;
  if (typeof route.path !== 'string' || route.path.length > MAX_PATH || !paths.test(route.path)) {
    throw invalid(
      `"path" of ${route.host}`,
      route.path,
      '"/" or "/a/b" of URL path characters, without a slash at the end, at most 512 characters',
    );
  }
  const key = `${route.host}${route.path}${route.exact === true ? ' exactly' : ''}`;
  keys.set(route, key);
  return key;
}

function isHost(host: unknown): boolean {
  return typeof host === 'string' && host.length <= MAX_HOST && HOST.test(host);
}

/** Throws unless hosts can be named to the proxy, and the certificate is one with its key. */
export function checkHostCertificate(certificate: HostCertificate): void {
  const { hosts, pem } = certificate;
  if (checked.has(certificate)) return;
  if (hosts.length === 0) throw invalid('"hosts" of a certificate', hosts, 'at least one');
  for (const host of hosts) if (!isHost(host)) throw invalid('a host of a certificate', host, HOST_EXPECTED);
  checkCertificate(hosts[0] ?? '', pem);
  checked.add(certificate);
}

/** Of thousands one has changed, when a table comes. */
const checked = new WeakSet<HostCertificate>();

export function checkEndpoint(endpoint: Endpoint): void {
  if (right.has(endpoint)) return;
  if (!NAME.test(endpoint.name)) {
    throw invalid('"name" of an endpoint', endpoint.name, '1 to 63 of a-z, 0-9 and "-"');
  }
  if (isIP(endpoint.ip) === 0) throw invalid(`"ip" of endpoint ${endpoint.name}`, endpoint.ip, 'an IP address');
  if (!isInteger(endpoint.port, 1, 65535)) {
    throw invalid(`"port" of endpoint ${endpoint.name}`, endpoint.port, '1 to 65535');
  }
  if (endpoint.protocol !== undefined && endpoint.protocol !== 'http1' && endpoint.protocol !== 'http2') {
    throw invalid(`"protocol" of endpoint ${endpoint.name}`, endpoint.protocol, '"http1" or "http2"');
  }
  if (endpoint.weight !== undefined && !isInteger(endpoint.weight, 0, 256)) {
    throw invalid(`"weight" of endpoint ${endpoint.name}`, endpoint.weight, '0 to 256');
  }
  if (endpoint.instance !== undefined && !isInteger(endpoint.instance, 0, 999_999)) {
    throw invalid(`"instance" of endpoint ${endpoint.name}`, endpoint.instance, '0 to 999999');
  }
  right.add(endpoint);
}

export function isUsable(endpoint: Endpoint): boolean {
  try {
    checkEndpoint(endpoint);
    return true;
  } catch {
    // Of somebody else's making, with a name or an address that none of ours has.
    return false;
  }
}

function checkBalance({ name, balance }: Backend): void {
  if (balance === undefined || balance === 'least-connections') return;
  const { header, factor = HASH_FACTORS.min } = typeof balance === 'object' ? balance : { header: '' };
  if (HEADER.test(header) && isInteger(factor, HASH_FACTORS.min, HASH_FACTORS.max)) return;
  const right = `"least-connections", nothing, or a header of a-z, 0-9, "_" and "-" with a factor of ${HASH_FACTORS.min} to ${HASH_FACTORS.max}`;
  throw invalid(`"balance" of backend ${name}`, balance, right);
}

export function checkBackend(backend: Backend): void {
  if (!NAME.test(backend.name)) throw invalid('"name" of a backend', backend.name, '1 to 63 of a-z, 0-9 and "-"');
  checkBalance(backend);
  const known = new Set<string>();
  for (const endpoint of backend.endpoints) {
    checkEndpoint(endpoint);
    const key = `${endpoint.name}:${endpoint.port}`;
    if (known.has(key)) {
      throw invalid(`an endpoint of backend ${backend.name}`, key, 'a name and port that are there once');
    }
    known.add(key);
  }
}

/** Throws unless requests can be sent there. */
export function checkService({ name, url, addresses }: RouteService): void {
  if (!NAME.test(name)) throw invalid('"name" of a service', name, '1 to 63 of a-z, 0-9 and "-"');
  const parsed = URL.parse(url);
  if (parsed?.protocol !== 'https:' || parsed.href !== url || url.length > MAX_SERVICE_URL || !SERVICE_URL.test(url)) {
    throw invalid(`"url" of service ${name}`, url, 'https:// and what URLs have, without a login and a fragment');
  }
  for (const address of addresses) {
    if (isIP(address) === 0) throw invalid(`an address of service ${name}`, address, 'an IP address');
  }
}

/** Throws for the first thing that is wrong; `systemHosts` are taken by the platform itself. */
export function checkTable(table: RoutingTable, systemHosts: ReadonlySet<string>): void {
  const backends = new Set<string>();
  for (const backend of table.backends) {
    checkBackend(backend);
    if (backends.has(backend.name)) throw invalid('a backend', backend.name, 'a name that is there once');
    backends.add(backend.name);
  }
  const services = new Set<string>();
  for (const service of table.services ?? []) {
    checkService(service);
    if (services.has(service.name) || backends.has(service.name)) {
      throw invalid('a service', service.name, 'a name that is there once');
    }
    services.add(service.name);
  }
  for (const { id, key } of table.signatureKeys ?? []) {
    if (!KEY_ID.test(id) || !KEY.test(key)) throw invalid('a key of signatures', id, '32 bytes in base64, and a name');
  }
  const taken = new Set<string>();
  for (const route of table.routes) {
    const key = checkRoute(route);
    if (taken.has(key)) throw invalid('a route', key, 'a host and path that are there once');
    taken.add(key);
    if (systemHosts.has(route.host)) throw invalid('"host"', route.host, NOT_OURS);
    if (route.service !== undefined && !services.has(route.service)) {
      throw invalid(`"service" of ${key}`, route.service, 'the name of a service of the same table');
    }
    if (!backends.has(route.backend)) {
      throw invalid(`"backend" of ${key}`, route.backend, 'the name of a backend of the same table');
    }
  }
  for (const [path, answer] of table.challenges ?? []) {
    if (!CHALLENGE.test(path) || !ANSWER.test(answer))
      throw invalid('a challenge', path, 'a path of ACME, and an answer, of letters, digits, "-", "_" and "."');
  }
  const ports = new Set<number>();
  for (const { port, backend } of table.tcp ?? []) {
    if (!isInteger(port, 1, 65535)) throw invalid('"port"', port, '1 to 65535');
    if (ports.has(port)) throw invalid('"port"', port, 'a port that is there once');
    ports.add(port);
    if (!backends.has(backend)) {
      throw invalid(`"backend" of port ${port}`, backend, 'the name of a backend of the same table');
    }
  }
  const named = new Set<string>();
  for (const certificate of table.certificates ?? []) {
    checkHostCertificate(certificate);
    for (const host of certificate.hosts) {
      if (named.has(host)) throw invalid('a host of a certificate', host, 'a name that is there once');
      if (certificate.ofPlatform !== true && systemHosts.has(host))
        throw invalid('a host of a certificate', host, NOT_OURS);
      named.add(host);
    }
  }
}

const NOT_OURS = "a host that is not the platform's own";

export function isInteger(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}
