/**
 * The router's contract: what it should serve, said whole, and a driver that makes it so.
 *
 * A `RoutingTable` is the entire desired state. `apply` compares it with what the proxy has and sends only the
 * difference; it never waits for a reload unless the pool of backends must grow, or one is to choose by a header. The order is: servers that appear,
 * then routes, then servers that go (drained first), so that no request ever meets a route without a server it should have.
 *
 * The driver (`haproxy/`) keeps the proxy's configuration file equal to what runs (debounced), so that a proxy that is
 * restarted while the control plane is dead serves the same. It supervises the proxy by a connection to its socket: when
 * that closes, the proxy is started again at once. Closing the driver leaves the proxy running; `stop` ends it.
 */
export interface RoutingTable {
  /**
   * Requests for `host` (exact, lower case, no port) below `path` (`/` or `/a/b`, no trailing slash) go to `backend`. The longest path wins. `*.example.com` is a wildcard host of one label, weaker than
   * an exact one, or of up to ten (`wide`), weaker the more there are, and `*` is every host, the weakest: where a host has no route for a path, the weaker ones are asked.
   */
  routes: Route[];
  /** What requests of routes pass first. No name is there twice, nor that of a backend. */
  services?: RouteService[];
  /** The first signs what goes to services, and each of them is known when it comes back. None: those requests are answered 502. */
  signatureKeys?: SignatureKey[];
  /** Connections to a port of the router (one of `ports().tcp`) go to a backend, byte for byte. No port is there twice. */
  tcp?: TcpRoute[];
  backends: Backend[];
  /** Offered to clients that name one of the hosts (SNI), besides those of `setCertificate`, which have no such limit. No host is there twice. */
  certificates?: HostCertificate[];
  /** Paths of ACME's challenges, and what is answered there whatever the host (RFC 8555, 8.3), before any route. */
  challenges?: ReadonlyMap<string, string>;
}

export interface Route {
  host: string;
  path: string;
  /** `*.` stands for any number of labels, of which the fewest count first, rather than for one. */
  wide?: boolean;
  /** The path as a whole, to the last slash, rather than what is below it; stronger than what only begins alike. */
  exact?: boolean;
  /** Name of a backend; a route to a backend with no endpoint answers 503 and says so. */
  backend: string;
  /** Identity for logs and metrics: the Cloud Foundry route's guid. */
  id: string;
  /**
   * Name of a service: requests go there first, with `X-CF-Forwarded-Url`, `X-CF-Proxy-Signature` and `X-CF-Proxy-Metadata`. One that comes
   * to the route with a signature of this URL that is not older than a minute goes to the backend, without those headers; one with any other
   * is answered 400. A service that is not there is answered for with 502: nothing reaches the backend past it.
   */
  service?: string;
}

/** Spoken to by TLS. What it is asked is its own URL, whatever the client's path was. */
export interface RouteService {
  /** `[a-z0-9-]{1,63}` */
  name: string;
  /** As `URL` writes it: `https://`, without a login or fragment. */
  url: string;
  /** Where it is, as IP addresses. None: requests are answered 502. */
  addresses: readonly string[];
}

export interface SignatureKey {
  /** `[a-z0-9]{1,32}` */
  id: string;
  /** Base64, of 32 bytes. */
  key: string;
}

export interface TcpRoute {
  port: number;
  /** Name of a backend; while it has no endpoint, connections are closed at once. */
  backend: string;
  id: string;
}

export interface Backend {
  /** `[a-z0-9-]{1,63}` */
  name: string;
  /** For access log and metrics. */
  application?: { id: string; name: string; space: string; organization: string };
  /** Who gets the next request: the next one in turn, by weight (the default), who has the fewest connections, or who the request names. */
  balance?: 'least-connections' | HashBalance;
  /** None is there twice with the same name and port. */
  endpoints: Endpoint[];
}

/**
 * Requests that say the same in a header go to the same endpoint; those that do not say it take turns. When an endpoint comes, some
 * that go there are taken from each of the others, and when it leaves, they go back: nobody else's change.
 */
export interface HashBalance {
  /** `[a-z0-9_-]{1,128}` */
  header: string;
  /** How many requests an endpoint may have at once before the next one gets what would be its own, in hundredths of their average: more than 100. Absent: any number. */
  factor?: number;
}

export interface Endpoint {
  /** Stable name, `[a-z0-9-]{1,63}`: the pod's name. */
  name: string;
  ip: string;
  port: number;
  /** What it speaks to HTTP routes: HTTP/1.1, or HTTP/2 without TLS. A TCP route does not look. Default: `http1`. */
  protocol?: 'http1' | 'http2';
  /** 0 to 256, relative; default 100. */
  weight?: number;
  /** Takes no new request, finishes those it has. The driver forgets it when it is gone from the table and idle, or after the drain time. */
  draining?: boolean;
  /** Instance index, for the log line and the `X-CF-INSTANCE` header. */
  instance?: number;
}

export interface HostCertificate {
  hosts: string[];
  /** The chain and its private key. One that the proxy refuses is left out, and told in the log. */
  pem: string;
  /** The platform's own hosts may be among its hosts. */
  ofPlatform?: boolean;
}

export interface Router {
  /** Resolves when the proxy serves the table. Calls are serialized; a newer table replaces one that waits. Rejects with `RouterError`. */
  apply(table: RoutingTable): Promise<void>;
  /** Adds or replaces the certificate for its names. */
  setCertificate(certificate: { name: string; pem: string }): Promise<void>;
  /** One record for each finished request, in order; `gap` counts the records that were lost before it. */
  onAccess(listener: (record: AccessRecord) => void): () => void;
  /** `tcp` are those that TCP routes may have, growing: of the ports asked for those that no other program had. */
  ports(): { http: number; https: number; tcp: readonly number[] };
  status(): RouterStatus;
  /** Stops driving; the proxy goes on. */
  close(): Promise<void>;
  /** Stops the proxy, after the drain time at most. */
  stop(): Promise<void>;
}

export interface RouterStatus {
  proxyPid: number | undefined;
  routes: number;
  backends: number;
  backendPool: number;
  endpoints: number;
  reloads: number;
  lostAccessRecords: number;
}

export interface AccessRecord {
  /** Milliseconds since the epoch, at the start of the request. */
  at: number;
  backend: string;
  endpoint: string;
  requestId: string;
  clientIp: string;
  /** Address and port of the client's connection. */
  client: string;
  /** Address and port of the endpoint; empty when none was reached. */
  address: string;
  /** Instance index of the endpoint. */
  instance: number | undefined;
  /** `X-Forwarded-For` as the client sent it. */
  forwardedFor: string;
  method: string;
  host: string;
  /** With the query. */
  path: string;
  protocol: string;
  status: number;
  bytesIn: number;
  bytesOut: number;
  /** Milliseconds: of the whole request, of waiting in the proxy, and until the app's first byte (-1: never). */
  total: number;
  queued: number;
  response: number;
  userAgent: string;
  referer: string;
  /** HAProxy's two or four letter termination state. */
  termination: string;
  gap: number;
}

/** Of the TLS port. */
export interface RouterTls {
  minimum: '1.2' | '1.3';
  /** OpenSSL's names, those of TLS 1.3 begin with `TLS_`. Absent: HAProxy's. */
  ciphers?: string[];
  /** Whose certificates clients may show, PEM; `required`: apps are for those alone who do. A wrong one ends the handshake. */
  clients?: { authorities: string; required: boolean };
  /**
   * `X-Forwarded-Client-Cert`, as gorouter: `sanitize_set` takes it off and sets it to the certificate that the client showed (DER in
   * base64); `forward` passes it on from clients that showed one, and takes it off otherwise; `always_forward` leaves it.
   */
  forwarded: 'sanitize_set' | 'forward' | 'always_forward';
}

export interface RouterOptions {
  instance: string;
  /** `<data>/router`: configuration, maps, certificates, error pages. */
  dataDirectory: string;
  /** `<run>/router`: sockets and pid file. */
  runDirectory: string;
  /** `tcp`: for TCP routes. They are held from the start on, whether there are routes or not, so that none needs a reload. */
  listen: { http: number; https: number; tcp?: readonly number[]; address?: string };
  /** Open files of the proxy; each request needs two, and some are for everything else. Default: this process's hard limit. */
  openFiles?: number;
  /** Certificate and key for `*.domain` and the system's own names, PEM in one file. */
  certificate: string;
  /** Default: TLS 1.2, HAProxy's ciphers, nobody's client certificates, `sanitize_set`. */
  tls?: RouterTls;
  /** Whose certificates route services may have (PEM), or whether they are looked at. Absent: route services are answered 502. */
  serviceTls?: { authorities: string; verify: boolean };
  /** Routes that are always there: the platform's own endpoints, by host. */
  system: { host: string; address: string; port: number; tls?: boolean }[];
  drainSeconds?: number;
  /** Between reloads that backends ask for which choose by a header, so that nobody makes many. Until then they take turns. Default: 10,000. */
  hashPauseMilliseconds?: number;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export type RouterErrorCode = 'invalid' | 'proxy-failed' | 'port-taken' | 'unavailable';

export class RouterError extends Error {
  readonly code: RouterErrorCode;
  constructor(code: RouterErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RouterError';
    this.code = code;
  }
}
