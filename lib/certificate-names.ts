import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/** Is a certificate for this DNS name or address? */
export function isFor(certificate: X509Certificate, name: string): boolean {
  return (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
}
