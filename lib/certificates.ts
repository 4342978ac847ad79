/**
 * X.509 certificates of an authority of our own (RFC 5280): ECDSA P-256 with SHA-256, PEM in and out.
 *
 * The library behind it is heavy and is loaded on the first call; who only reads certificates uses `node:crypto`.
 */
import { randomBytes, type webcrypto } from 'node:crypto';
import type { PublicKey } from '@peculiar/x509';

/** PEM: the certificate, and its private key in PKCS #8. */
export interface KeyPair {
  certificate: string;
  key: string;
}

export interface CertificateRequest {
  /** Kubernetes reads it as the user's name. */
  commonName: string;
  /** Kubernetes reads them as the user's groups. */
  organizations?: string[];
  dnsNames?: string[];
  ips?: string[];
  emails?: string[];
  uris?: string[];
  usages: ('server' | 'client')[];
  days: number;
}

export class CertificateError extends Error {
  readonly code = 'certificate-invalid';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CertificateError';
  }
}

export const SIGNING = { name: 'ECDSA', hash: 'SHA-256', namedCurve: 'P-256' };
const DAY = 24 * 60 * 60 * 1000;
const SHORTEST_SKEW = 5 * 60 * 1000;

/**
 * Clocks of two hosts may differ, and one may be set back: a certificate counts from so many milliseconds before it was made. A short
 * life is not made much longer by it.
 */
export function skewOf(lifetime: number): number {
  return Math.max(SHORTEST_SKEW, Math.min(DAY, lifetime / 10));
}

/** A self-signed authority that may sign leaf certificates, and no further authorities. */
export async function createAuthority(options: { commonName: string; days: number }): Promise<KeyPair> {
  const x509 = await loadX509();
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [options.commonName] }],
    ...validity(options.days),
    keys,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** A new key and its certificate, signed by `authority`. Throws `CertificateError` when the authority cannot be read. */
export async function issueCertificate(authority: KeyPair, { days, ...subject }: CertificateRequest): Promise<KeyPair> {
  const { notBefore, notAfter } = validity(days);
  const keys = await generateKeys();
  const certificate = await signLeaf(authority, { ...subject, notBefore, notAfter }, keys.publicKey);
  return { certificate, key: await exportKey(keys.privateKey) };
}

export interface Leaf extends Omit<CertificateRequest, 'days'> {
  notBefore: Date;
  notAfter: Date;
  /** For key exchange by RSA, besides signatures. */
  keyEncipherment?: boolean;
}

/** The certificate (PEM) of somebody's public key. */
export async function signLeaf(
  authority: KeyPair,
  leaf: Leaf,
  publicKey: webcrypto.CryptoKey | PublicKey,
): Promise<string> {
  if (leaf.usages.length === 0) throw new CertificateError('Cannot issue a certificate: "usages" is empty');
  const x509 = await loadX509();
  const issuer = await readAuthority(authority);
  const names = alternativeNames(leaf);
  const usages = leaf.usages.map((usage) =>
    usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
  );
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const keyUsages = leaf.keyEncipherment === true ? digitalSignature | keyEncipherment : digitalSignature;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [...(leaf.organizations ?? []).map((O) => ({ O: [O] })), { CN: [leaf.commonName] }],
    issuer: issuer.certificate.subjectName,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    publicKey,
    signingKey: issuer.key,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(keyUsages, true),
      new x509.ExtendedKeyUsageExtension(usages),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.certificate.publicKey),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return certificate.toString('pem');
}

export function alternativeNames({
  dnsNames = [],
  ips = [],
  emails = [],
  uris = [],
}: Pick<CertificateRequest, 'dnsNames' | 'ips' | 'emails' | 'uris'>) {
  const of = <Type extends 'dns' | 'ip' | 'email' | 'url'>(type: Type, values: string[]) =>
    values.map((value) => ({ type, value }));
  return [...of('dns', dnsNames), ...of('ip', ips), ...of('email', emails), ...of('url', uris)];
}

/** Loaded when it is first needed. */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/** Of the kind that everything here has: P-256. */
export function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
}

/** PKCS #8, PEM. */
export async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${(der.match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n`;
}

async function readAuthority(authority: KeyPair) {
  const x509 = await loadX509();
  try {
    const der = Buffer.from(authority.key.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    const key = await crypto.subtle.importKey('pkcs8', der, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
    return { certificate: new x509.X509Certificate(authority.certificate), key };
  } catch (cause) {
    throw new CertificateError(
      'Cannot read the authority: expected a PEM certificate and its ECDSA P-256 key in PKCS #8',
      { cause },
    );
  }
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  if (!(days > 0)) throw new CertificateError(`Cannot issue a certificate: "days" is ${days}, expected more than 0`);
  const now = Date.now();
  return { notBefore: new Date(now - skewOf(days * DAY)), notAfter: new Date(now + days * DAY) };
}

/** Positive, and without a leading zero byte that DER would drop. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}
