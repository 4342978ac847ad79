/**
 * What HAProxy is told of route services: pure text, as `config.ts`.
 *
 * A signature is the HMAC (SHA-256) of `<time>|<host>|<path and query>`, the latter decoded once, as clients write the same URL in
 * several ways. Metadata is `<id of the key>.<seconds since the epoch>`. HAProxy makes and checks them by itself, with the keys of
 * the map `keys`, so that nothing of ours stands in the way of a request, and a new key needs no reload.
 */
import { createHash } from 'node:crypto';
import type { RouterOptions } from '../model.ts';
import { CURRENT, type MapName } from './state.ts';

/** Seconds that a signature is good for; clocks may be set back by as much as the other says. */
const LIFETIME = 60;
const SET_BACK = 5;

const URL_HEADER = 'X-CF-Forwarded-Url';
const SIGNATURE = 'X-CF-Proxy-Signature';
const METADATA = 'X-CF-Proxy-Metadata';
/** With any dash, and underscores, which some servers take for dashes. */
const ALIKE = '^x[-_]cf[-_](forwarded[-_]url|proxy[-_](signature|metadata))$';

export const UNLESS_RETURNED = '!returned';

/** How the servers of route services are spoken to; empty: they are not. The name is said and verified that `txn.sni` has. */
export function serviceServer({ serviceTls, files }: ServiceConfig): string {
  if (serviceTls === undefined) return '';
  const verify = serviceTls.verify ? `verify required ca-file ${files.serviceAuthorities}` : 'verify none';
  return `ssl ${verify} sni var(txn.sni)`;
}

interface ServiceConfig {
  serviceTls?: RouterOptions['serviceTls'];
  files: { map: (name: MapName) => string; serviceAuthorities: string };
  http: number;
  https: number;
}

/** Where a request of a route with a service goes, and whether it has been there. After the route is known, before headers are set. */
export function serviceRules(input: ServiceConfig): string {
  const { files } = input;
  const keys = files.map('keys');
  const set = (name: string, expression: string, condition: string) =>
    `  http-request set-var(txn.${name}) ${expression} if ${condition}`;
  const mac = (time: string) => `var(txn.${time}),concat(|,txn.signed),hmac(sha256,txn.key),hex,lower`;
  return [
    '  # Of a route with a service: what comes back from there with our signature goes to the app, everything else to the service first.',
    '  http-request set-var(txn.service) var(txn.route),field(3,|)',
    `  http-request set-var(txn.claim) req.fhdr(${URL_HEADER})`,
    `  http-request set-var(txn.signature) req.fhdr(${SIGNATURE})`,
    `  http-request set-var(txn.metadata) req.fhdr(${METADATA})`,
    `  http-request del-header ${ALIKE} -m reg`,
    '  acl serviced var(txn.service) -m found',
    '  acl claimed var(txn.signature) -m len gt 0',
    // What cannot be decoded stays as it is.
    set('signed', 'pathq', 'serviced'),
    set('signed', 'pathq,url_dec', 'serviced'),
    set('signed', 'var(txn.host),concat(|,txn.signed)', 'serviced'),
    // Else a host that a wildcard takes could be written such that the signature is another's.
    `  ${answer(400, 'Bad Request', 'invalid_host', 'the host is no name')} if serviced !{ var(txn.host) -m reg ^[a-z0-9._-]+$ }`,
    // A service that is an app is told what we have said, and nothing that somebody else says.
    set('signed', 'var(txn.claim),field(4,/,0)', 'claimed !serviced'),
    set('signed', 'var(txn.claim),field(4,/,0),url_dec', 'claimed !serviced'),
    set('signed', 'var(txn.claim),field(3,/),host_only,concat(|/,txn.signed)', 'claimed !serviced'),
    set('key', `var(txn.metadata),field(1,.),map(${keys})`, 'claimed'),
    set('at', 'var(txn.metadata),field(2,.),add(0)', 'claimed'),
    set('expected', mac('at'), 'claimed'),
    set('age', `date,sub(txn.at),add(${SET_BACK})`, 'claimed'),
    `  http-request set-var(txn.genuine) bool(true) if { var(txn.expected),secure_memcmp(txn.signature) } { var(txn.age) -m int 0:${LIFETIME + SET_BACK} }`,
    '  acl genuine var(txn.genuine) -m found',
    `  ${answer(400, 'Bad Request', 'invalid_signature', 'Failed to validate Route Service Signature')} if serviced claimed !genuine`,
    set('returned', 'bool(true)', 'serviced genuine'),
    '  acl returned var(txn.returned) -m found',
    `  http-request set-header ${URL_HEADER} %[var(txn.claim)] if genuine !serviced`,
    `  http-request set-header ${SIGNATURE} %[var(txn.signature)] if genuine !serviced`,
    `  http-request set-header ${METADATA} %[var(txn.metadata)] if genuine !serviced`,
    '  acl away var(txn.away) -m found',
    set('away', 'bool(true)', 'serviced !returned'),
    set('to', `var(txn.service),map(${files.map('services')})`, 'away'),
    set('sni', 'var(txn.to),field(2,|),host_only', 'away'),
    set('current', `str(${CURRENT}),map(${keys})`, 'away'),
    set('key', 'var(txn.current),field(2,.)', 'away'),
    set('now', 'date', 'away'),
    set('mac', mac('now'), 'away'),
    `  ${answer(502, 'Bad Gateway', 'endpoint_failure', UNREACHABLE)} if away !{ var(txn.to) -m found }`,
    `  ${answer(502, 'Bad Gateway', 'endpoint_failure', UNREACHABLE)} if away !{ var(txn.mac) -m found }`,
    ...forwardedUrl(input),
    `  http-request set-header ${SIGNATURE} %[var(txn.mac)] if away`,
    `  http-request set-header ${METADATA} %[var(txn.current),field(1,.)].%[var(txn.now)] if away`,
    '',
  ].join('\n');
}

/** By TLS, whatever it came by, as gorouter: the host as it was named, where that is one of TLS already. */
function forwardedUrl({ https }: ServiceConfig): string[] {
  const port = https === 443 ? '' : `:${https}`;
  return [
    `  http-request set-header ${URL_HEADER} https://%[var(txn.host)]${port}%[pathq] if away !{ ssl_fc }`,
    `  http-request set-header ${URL_HEADER} https://%[req.hdr(host),lower]%[pathq] if away { ssl_fc }`,
  ];
}

const UNREACHABLE = 'the route service of this route cannot be reached';

function answer(status: number, reason: string, error: string, why: string): string {
  return `http-request return status ${status} content-type "text/plain; charset=utf-8" hdr X-Cf-Routererror ${error} hdr X-Content-Type-Options nosniff string "${status} ${reason}: ${why}.\\n"`;
}

function page(status: number, shown: string, why: string): string {
  const headers = 'hdr X-Cf-Routererror endpoint_failure hdr X-Content-Type-Options nosniff';
  return `  http-error status ${status} content-type "text/plain; charset=utf-8" ${headers} string "${shown}: ${why}.\\n"`;
}

/** Far away they may be, and nothing that they were asked is asked again. @param refusal  for who comes when one has too many */
export function serviceDefaults(input: ServiceConfig, refusal: string): string {
  const authorities = input.serviceTls?.authorities ?? '';
  return `defaults services from base
  # authorities ${createHash('sha256').update(authorities).digest('hex').slice(0, 16)}
  balance roundrobin
  timeout connect 5s
  retries 1
  retry-on conn-failure
${page(502, '502 Bad Gateway', 'the route service ended the connection before it had answered')}
${page(503, '502 Bad Gateway', UNREACHABLE)}
${page(504, '504 Gateway Timeout', 'the route service did not answer in time')}
  ${answer(502, 'Bad Gateway', 'endpoint_failure', UNREACHABLE)} if { nbsrv eq 0 } !{ stopping }
  ${refusal}
  http-request set-header Host %[var(txn.to),field(2,|)]
  http-request set-pathq %[var(txn.to),field(3,|,0)]
  # A 503 of the proxy's own is that the service was not reached.
  http-response set-var(txn.answered) bool(true)
  http-after-response set-status 502 reason "Bad Gateway" if { status 503 } !{ var(txn.answered) -m found }

${authoritiesSection(input)}`;
}

/** Files that servers name while the proxy runs must have been read when it started. */
function authoritiesSection({ serviceTls, files }: ServiceConfig): string {
  if (!serviceTls?.verify) return '';
  return `backend authorities from services
  server none 127.0.0.1:1 disabled ssl verify required ca-file ${files.serviceAuthorities}

`;
}

export function serviceSlot(slot: string, servers: readonly string[]): string {
  return `${[`backend ${slot} from services`, ...servers].join('\n')}\n`;
}
