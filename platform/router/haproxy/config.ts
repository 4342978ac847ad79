/**
 * HAProxy's configuration as text: a pure function, so that golden files can hold it. Whatever runs is written to this
 * file as well, so a proxy that is started again serves the same with nobody's help.
 *
 * What it may contain of users' making are only names that `validate.ts` has let through.
 */
import { createHash } from 'node:crypto';
import type { RouterOptions, RouterTls } from '../model.ts';
import { portRanges } from '../ports.ts';
import { hashRules } from './hash.ts';
import { type Limits, shareOut } from './limits.ts';
import { type Declared, serverArguments } from './plan.ts';
import { serviceDefaults, serviceRules, serviceServer, serviceSlot, UNLESS_RETURNED } from './service-config.ts';
import { type MapName, mapPools, type Pools, type ProxyState, tcpSlot } from './state.ts';
import { bindTls, clientCertificateRules, globalTls } from './tls-config.ts';

/** Each takes 12 KB of the proxy; more than these come with a reload. */
export const POOLS_START: Pools = { b: 128, l: 32, s: 16 };

export interface Files {
  config: string;
  map: (name: MapName) => string;
  certificates: string;
  /** The list of certificates that the TLS port offers; the first is for clients that name no host. */
  certificateList: string;
  /** Whose certificates clients may show. */
  clientAuthorities: string;
  /** Whose certificates route services may have. */
  serviceAuthorities: string;
  masterSocket: string;
  commandSocket: string;
  /** What HAProxy says while it starts. */
  output: string;
  saved: string;
}

export function filesOf(options: Pick<RouterOptions, 'dataDirectory' | 'runDirectory'>): Files {
  const { dataDirectory: data, runDirectory: run } = options;
  return {
    config: `${data}/haproxy.cfg`,
    map: (name) => `${data}/${name}.map`,
    certificates: `${data}/certificates`,
    certificateList: `${data}/certificates.list`,
    clientAuthorities: `${data}/client-authorities.pem`,
    serviceAuthorities: `${data}/service-authorities.pem`,
    masterSocket: `${run}/master.sock`,
    commandSocket: `${run}/commands.sock`,
    output: `${data}/haproxy.log`,
    saved: `${data}/state.json`,
  };
}

/** Where the access log goes: a port of this host, and a word that nobody else can say. */
export interface AccessTarget {
  port: number;
  token: string;
}

export interface ConfigInput {
  files: Files;
  http: number;
  https: number;
  /** Ports of TCP routes, growing. */
  tcp: readonly number[];
  /** Addresses to listen on, as HAProxy writes them: `*`, `[::]`, `127.0.0.1`. */
  addresses: string[];
  tls: RouterTls;
  serviceTls?: RouterOptions['serviceTls'];
  system: RouterOptions['system'];
  /** Connections on the side of clients; each may need a second one to an app. */
  maxConnections: number;
  /** The unprivileged user that moves the bytes; empty: stay who we are. */
  user: string;
  access: AccessTarget;
}

/** Changes whenever a running proxy must be reloaded to follow the input: the template is part of it. */
export function configVersion(input: ConfigInput): string {
  const one = { pools: mapPools(() => 1), hashed: ['h:header:150:backend'] };
  const text = renderConfig(input, { ...one, stamp: '', state: undefined });
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

export interface ConfigState extends Declared {
  /** Changes with each reload, so that a new worker can be told from the one before it. */
  stamp: string;
  state: ProxyState | undefined;
}

export function renderConfig(input: ConfigInput, running: ConfigState): string {
  const version = running.stamp === '' ? '' : configVersion(input);
  const limits = shareOut(input.maxConnections, input.tcp.length);
  const { state } = running;
  const numbers = (count: number): number[] => [...Array(count).keys()];
  const sections = [
    globalSection(input, version, running),
    ringSection(input.access),
    DEFAULTS,
    frontendSection(input, limits),
    ...input.system.map((system, index) => systemSection(system, index)),
    appDefaults(limits),
    ...numbers(running.pools.b).map((number) => slotSection(`b${number}`, input, state)),
    ...numbers(running.pools.l).map((number) => slotSection(`l${number}`, input, state, '  balance leastconn')),
    ...running.hashed.map((slot) => slotSection(slot, input, state, ...hashRules(slot))),
    serviceDefaults(input, appLimit(limits)),
    ...numbers(running.pools.s).map((number) => serviceSlot(`s${number}`, serverLines(`s${number}`, input, state))),
    ...(input.tcp.length === 0 ? [] : [tcpSection(input, limits)]),
    ...input.tcp.map((port) => tcpSlotSection(tcpSlot(port), input, state)),
  ];
  return `# Written by Sampan's router. Changes made here are lost.\n${sections.join('\n')}`;
}

function globalSection(input: ConfigInput, version: string, running: ConfigState): string {
  const user = input.user === '' ? '' : `  user ${input.user}\n  group ${input.user}\n`;
  return `global
  setenv SAMPAN_VERSION "${version}"
  setenv SAMPAN_STAMP "${running.stamp}"
  setenv SAMPAN_POOL ${running.pools.b}
  setenv SAMPAN_LEAST_POOL ${running.pools.l}
  setenv SAMPAN_SERVICE_POOL ${running.pools.s}
  setenv SAMPAN_HTTP ${input.http}
  setenv SAMPAN_HTTPS ${input.https}
  setenv SAMPAN_TCP ${portRanges(input.tcp).join() || 'none'}
  setenv SAMPAN_ACCESS ${input.access.port}
  setenv SAMPAN_TOKEN ${input.access.token}
  stats socket ${input.files.commandSocket} mode 600 level admin expose-fd listeners
  stats timeout 10m
${user}  maxconn ${input.maxConnections}
  # A worker that was replaced ends at last, with its longest WebSocket.
  hard-stop-after 1h
${globalTls(input.tls)}  tune.ssl.default-dh-param 2048
`;
}

/** TCP, as HAProxy 2.6 never stops trying a Unix socket that is not there, and takes a whole core for it. */
function ringSection(access: AccessTarget): string {
  return `ring access
  format raw
  maxlen 8192
  size 4194304
  timeout connect 1s
  timeout server 10s
  server router 127.0.0.1:${access.port} log-proto octet-count
`;
}

const DEFAULTS = `defaults base
  mode http
  option http-keep-alive
  # While a worker is being replaced, idle connections get their next answer before they are closed.
  option idle-close-on-response
  option abortonclose
  # The whole head of a request, and of the first bytes of TLS: slow ones are cut.
  timeout http-request 10s
  timeout http-keep-alive 60s
  timeout client 60s
  timeout client-fin 10s
  timeout connect 250ms
  timeout queue 10s
  timeout server 15m
  timeout tunnel 1h
  # A connection that cannot be made is tried again: at once on another server, on the same one every 250 ms, so that
  # requests wait up to 5 s for an only instance that restarts.
  retries 20
  option redispatch 1
  ${failurePage(502, 'Bad Gateway', 'the application ended the connection before it had answered')}
  ${failurePage(503, 'Service Unavailable', 'no instance of the application accepts connections')}
  ${failurePage(504, 'Gateway Timeout', 'the application did not answer in time')}
`;

function failurePage(status: number, reason: string, what: string): string {
  const headers = 'hdr X-Cf-Routererror endpoint_failure hdr X-Content-Type-Options nosniff';
  return `http-error status ${status} content-type "text/plain; charset=utf-8" ${headers} string "${status} ${reason}: ${what}.\\n"`;
}

/** Fields of the access log, a JSON array a line; `access-log.ts` reads it. */
const LOG_FIELDS = [
  '%lc',
  '%pid',
  '%Ts',
  '"%ms"',
  '%Th',
  '%Ti',
  '%Ta',
  '%Tw',
  '%Tr',
  '%ST',
  '%U',
  '%B',
  '"%ci:%cp"',
  '"%si:%sp"',
  '"%s"',
  '"%[var(txn.route)]"',
  '"%tsc"',
  '"%[var(txn.id)]"',
  ...['var(txn.host)', 'capture.req.method', 'capture.req.uri', 'capture.req.ver'].map(quoted),
  ...['capture.req.hdr(0)', 'capture.req.hdr(1)', 'capture.req.hdr(2)'].map(quoted),
];

function quoted(fetch: string): string {
  return `"%[${fetch},json(utf8s)]"`;
}

function frontendSection(input: ConfigInput, limits: Limits): string {
  const { files, http, https, addresses, access, tls } = input;
  const binds = addresses.flatMap((address) => {
    const family = address.startsWith('[') ? ' v6only' : '';
    return [
      `  bind ${address}:${http}${family}`,
      `  bind ${address}:${https}${family} ssl crt-list ${files.certificateList} alpn h2,http/1.1${bindTls(tls, files.clientAuthorities)}`,
    ];
  });
  return `frontend apps from base
${binds.join('\n')}
  maxconn ${limits.http}
  stick-table type ipv6 size 100k expire 1m store conn_cur
  tcp-request connection track-sc0 src
  tcp-request connection reject if { sc0_conn_cur gt ${limits.address} }
  log ring@access local0
  log-format '["${access.token}",${LOG_FIELDS.join(',')}]'
  capture request header User-Agent len 256
  capture request header Referer len 256
  capture request header X-Forwarded-For len 128

  http-request set-var(txn.id) uuid()
  http-request set-var(txn.host) req.hdr(host),lower,host_only
  http-request deny deny_status 400 if { req.hdr_cnt(host) gt 1 }
  http-request return status 200 content-type text/plain lf-string "%[path,map(${files.map('challenges')})]" if { path_beg /.well-known/acme-challenge/ } { path,map(${files.map('challenges')}) -m found }
  ${refusal('the router has as many connections as it can hold')} if { fe_conn gt ${limits.accepted} } { http_first_req }

  # The exact path of the host, else its longest, else the host; else the same for the host with * for its first label, for that with ** for
  # its first, its first two and so on, and for every host.
${lookUp(files, 'host')}
  acl routed var(txn.route) -m found
  http-request set-var(txn.parent) var(txn.host),field(2,.,0) if !routed
  http-request set-var(txn.wild) str(*),concat(.,txn.parent) if !routed
${lookUp(files, 'wild')}
${widerLookUps(files)}
  http-request set-var(txn.any) str(*) if !routed
${lookUp(files, 'any')}
  http-request return status 404 content-type "text/plain; charset=utf-8" hdr X-Cf-Routererror unknown_route hdr X-Content-Type-Options nosniff lf-string "404 Not Found: no application is mapped to this URL (host '%[var(txn.host)]').\\n" if !routed

${serviceRules(input)}
${clientCertificateRules(tls)}  http-request del-header Proxy
  option forwardfor
  # What came back from a service says how the client came to us.
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)] if ${UNLESS_RETURNED} or !{ req.hdr(x-forwarded-proto) -m found }
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Vcap-Request-Id %[var(txn.id)]
  http-request set-header X-Request-Id %[var(txn.id)] if !{ req.hdr(x-request-id) -m found }
  http-after-response set-header X-Vcap-Request-Id %[var(txn.id)]
  use_backend %[var(txn.to),field(1,|)] if away
  use_backend %[var(txn.route),field(1,|)]
`;
}

/** Labels that a wildcard may stand for. */
const WIDEST = 10;

/** A host that has no more labels is looked up again as it is. */
function widerLookUps(files: Files): string {
  const wild = '  http-request set-var(txn.wild) str(**),concat(.,txn.parent) if !routed';
  const wider = '  http-request set-var(txn.parent) var(txn.parent),field(2,.,0) if !routed';
  const levels = Array.from({ length: WIDEST }, () => `${wild}\n${lookUp(files, 'wild')}`);
  return levels.join(`\n${wider}\n`);
}

/** Sets the route where the maps have one for the variable: what finds nothing, as an unset variable, changes nothing. */
function lookUp(files: Files, variable: string): string {
  const key = `var(txn.${variable})`;
  const set = (expression: string) => `  http-request set-var(txn.route) ${key},${expression}`;
  const deep = 'if { var(txn.path) -m found }';
  return [
    set(`map(${files.map('hosts')})`),
    `  http-request set-var(txn.path) path if { ${key},map(${files.map('deep')}) -m found }`,
    set(`concat(,txn.path,/),map_beg(${files.map('paths')}) ${deep}`),
    set(`concat(,txn.path),map(${files.map('exact')}) ${deep}`),
  ].join('\n');
}

/** The platform's own endpoints are on this host, where TLS only keeps the protocol the same: nothing to verify. */
function systemSection(system: RouterOptions['system'][number], index: number): string {
  const tls = system.tls ? ' ssl verify none' : '';
  return `backend system${index} from base
  retry-on conn-failure
  server platform ${system.address}:${system.port}${tls}
`;
}

/** For who comes when there is no room: the connection ends with it. */
function refusal(why: string): string {
  const headers =
    'hdr X-Cf-Routererror connection_limit_reached hdr X-Content-Type-Options nosniff hdr Retry-After 1 hdr Connection close';
  return `http-request return status 503 content-type "text/plain; charset=utf-8" ${headers} string "503 Service Unavailable: ${why}.\\n"`;
}

function appLimit({ app }: Limits): string {
  return `${refusal('the application has as many connections as one may have')} if { be_conn gt ${app} } { http_first_req }`;
}

/** A worker that is being replaced says that it has no server while it still serves with all of them: `stopping`. */
function appDefaults(limits: Limits): string {
  return `defaults apps from base
  balance roundrobin
  # Whatever failed before a byte came back is tried again only where the method promises that this is harmless.
  retry-on conn-failure empty-response
  http-request disable-l7-retry if !{ method GET HEAD OPTIONS }
  http-request return status 503 content-type "text/plain; charset=utf-8" hdr X-Cf-Routererror no_endpoints hdr X-Content-Type-Options nosniff hdr Retry-After 1 lf-string "503 Service Unavailable: the application at '%[var(txn.host)]' has no running instance.\\n" if { nbsrv eq 0 } !{ stopping }
  ${appLimit(limits)}
  # A session stays with its instance for as long as that is there, and gets another cookie with another one.
  http-request set-var(txn.sticky) req.cook(__VCAP_ID__) if { req.cook(JSESSIONID) -m found }
  http-response set-var(txn.server) srv_name if { var(txn.sticky) -m found }
  http-response set-var(txn.starts) bool(true) if { res.cook(JSESSIONID) -m found }
  http-response set-var(txn.starts) bool(true) if { var(txn.sticky) -m found } !{ var(txn.sticky),strcmp(txn.server) eq 0 }
  http-response add-header Set-Cookie "__VCAP_ID__=%[srv_name]; Path=/; HttpOnly; SameSite=None; Secure" if { var(txn.starts) -m found } { res.fhdr(set-cookie) -m reg -i "^JSESSIONID=.*; *SameSite=None" }
  http-response add-header Set-Cookie "__VCAP_ID__=%[srv_name]; Path=/; HttpOnly; SameSite=Lax" if { var(txn.starts) -m found } !{ res.fhdr(set-cookie) -m reg -i "^JSESSIONID=.*; *SameSite=None" }
`;
}

/** `cookie` is refused on servers that are added at run time: sticky sessions read the cookie with `use-server`. */
function slotSection(slot: string, input: ConfigInput, state: ProxyState | undefined, ...more: string[]): string {
  const lines = [
    `backend ${slot} from apps`,
    ...more,
    '  use-server %[var(txn.sticky)] if { var(txn.sticky) -m found }',
    ...serverLines(slot, input, state),
  ];
  return `${lines.join('\n')}\n`;
}

function serverLines(slot: string, input: ConfigInput, state: ProxyState | undefined): string[] {
  return [...(state?.servers.get(slot) ?? [])]
    .filter(([, { mode }]) => mode === 'ready')
    .map(([name, server]) => `  server ${name} ${serverArguments(name, server, serviceServer(input))}`);
}

/** Every port is listened on; where no route leads anywhere, the connection is closed as soon as it is made. */
function tcpSection({ tcp, addresses }: ConfigInput, limits: Limits): string {
  const binds = addresses.flatMap((address) => {
    const family = address.startsWith('[') ? ' v6only' : '';
    return portRanges(tcp).map((range) => `  bind ${address}:${range}${family}`);
  });
  return `defaults tcp
  mode tcp
  timeout connect 250ms
  timeout queue 10s
  # What is silent for longer is taken for gone; TCP itself asks meanwhile whether the other side is there.
  timeout client 24h
  timeout server 24h
  timeout client-fin 10s
  option clitcpka
  option srvtcpka
  retries 20
  option redispatch 1

frontend tcp from tcp
${binds.join('\n')}
  maxconn ${limits.tcp}
  use_backend t%[dst_port]
`;
}

function tcpSlotSection(slot: string, input: ConfigInput, state: ProxyState | undefined): string {
  return `${[`backend ${slot} from tcp`, ...serverLines(slot, input, state)].join('\n')}\n`;
}
