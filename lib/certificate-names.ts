import { X509Certificate } from 'node:crypto';

/** DNS names and addresses that a certificate (PEM) is for. */
export function namesIn(certificate: string): string[] {
  const { subjectAltName = '' } = new X509Certificate(certificate);
  return [...subjectAltName.matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map(([, name = '']) => name);
}
