/**
 * Whom we trust outside: the authorities that this machine trusts, those that Node brings, and those of `NODE_EXTRA_CA_CERTS`.
 *
 * Node's own way there (`NODE_USE_SYSTEM_CA`) takes 40 ms of processor time and 4 MB in every process that loads TLS,
 * whether it asks anybody outside or not.
 */
import { readFileSync } from 'node:fs';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

/** What `update-ca-certificates` writes, where OpenSSL's variable names no other. */
const machineBundle = process.env['SSL_CERT_FILE'] || '/etc/ssl/certs/ca-certificates.crt';

let found: readonly string[] | undefined;
let trusted = false;

/** PEM, each once. A machine without a bundle trusts what Node brings. */
export function machineAuthorities(): readonly string[] {
  found ??= [...new Set([...getCACertificates('default'), ...bundled()])];
  return found;
}

function bundled(): string[] {
  if (process.env['NODE_USE_SYSTEM_CA'] === '0') return [];
  try {
    const pem = readFileSync(machineBundle, 'utf8');
    return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g)].map(([one]) => one);
  } catch {
    return [];
  }
}

/**
 * Options of TLS for a server outside; from then on, all of the process that names no authorities of its own trusts the machine's.
 *
 * @param more  PEM, trusted beside them
 */
export function outsideTls(more?: string): { ca?: string[] } {
  if (!trusted) setDefaultCACertificates(machineAuthorities());
  trusted = true;
  return more === undefined ? {} : { ca: [...machineAuthorities(), more] };
}
