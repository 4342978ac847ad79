/** What HAProxy is told of TLS and of clients' certificates: pure text, as `config.ts`. */
import { createHash } from 'node:crypto';
import type { RouterTls } from '../model.ts';
import { UNLESS_RETURNED } from './service-config.ts';

/** As gorouter names it; with any dash, and underscores, which some servers take for dashes. */
const HEADER = 'X-Forwarded-Client-Cert';
const HEADER_ALIKE = '^x[-_]forwarded[-_]client[-_]cert$';

export function globalTls({ minimum, ciphers }: RouterTls): string {
  const named = (suites: boolean): string[] => (ciphers ?? []).filter((name) => name.startsWith('TLS_') === suites);
  const line = (option: string, names: string[]): string =>
    names.length === 0 ? '' : `  ssl-default-bind-${option} ${names.join(':')}\n`;
  return `  ssl-default-bind-options ssl-min-ver TLSv${minimum}\n${line('ciphers', named(false))}${line('ciphersuites', named(true))}`;
}

/** Asked for, and not a must: what the platform has itself is for everybody, and who else needs one is said in words. */
export function bindTls({ clients }: RouterTls, file: string): string {
  return clients === undefined ? '' : ` ca-file ${file} verify optional`;
}

/** Before a request goes anywhere. The digest makes another authority another configuration. */
export function clientCertificateRules({ clients, forwarded }: RouterTls): string {
  const remove = `  http-request del-header ${HEADER_ALIKE} -m reg`;
  const lines: string[] = [];
  if (clients !== undefined) {
    lines.push(`  # authorities ${createHash('sha256').update(clients.authorities).digest('hex').slice(0, 16)}`);
    if (clients.required) lines.push(REQUIRED);
  }
  // What comes back from a route service has been through this, and the certificate was the client's.
  if (forwarded === 'sanitize_set') {
    lines.push(`${remove} if ${UNLESS_RETURNED}`);
    if (clients !== undefined)
      lines.push(`  http-request set-header ${HEADER} %[ssl_c_der,base64] if { ssl_c_used } ${UNLESS_RETURNED}`);
  }
  if (forwarded === 'forward')
    lines.push(`${remove} if ${UNLESS_RETURNED}${clients === undefined ? '' : ' !{ ssl_c_used }'}`);
  return lines.map((one) => `${one}\n`).join('');
}

/** The platform's own endpoints ask for tokens. */
const REQUIRED = `  http-request return status 403 content-type "text/plain; charset=utf-8" hdr X-Cf-Routererror client_certificate_required hdr X-Content-Type-Options nosniff string "403 Forbidden: this platform asks for a client certificate, by TLS.\\n" if !{ ssl_c_used } !{ var(txn.route) -m beg system } ${UNLESS_RETURNED}`;
