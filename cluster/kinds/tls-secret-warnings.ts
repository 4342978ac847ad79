/** A certificate and a key that do not belong together: who stores them is told, in the words of Go's `tls.X509KeyPair`, as upstream. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Secret } from './types/core.ts';

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----/g;

interface Block {
  type: string;
  text: string;
}

export function tlsSecretWarnings({ type, data }: Secret): string[] {
  if (type !== 'kubernetes.io/tls') return [];
  const problem = pairProblem(blocksOf(data?.['tls.crt']), blocksOf(data?.['tls.key']));
  return problem === undefined ? [] : [problem];
}

function blocksOf(base64 = ''): Block[] {
  const text = Buffer.from(base64, 'base64').toString('latin1');
  return [...text.matchAll(BLOCK)].map(([block, type = '']) => ({ type, text: block }));
}

function pairProblem(certificates: Block[], keys: Block[]): string | undefined {
  const certificate = certificates.find(({ type }) => type === 'CERTIFICATE');
  if (certificate === undefined) return noCertificate(certificates);
  const key = keys.find(({ type }) => type === 'PRIVATE KEY' || type.endsWith(' PRIVATE KEY'));
  if (key === undefined) return noKey(keys);
  const read = readCertificate(certificate.text);
  if (read === undefined) return 'x509: malformed certificate';
  const secret = readKey(key.text);
  if (secret === undefined) return 'tls: failed to parse private key';
  if (secret.asymmetricKeyType !== read.publicKey.asymmetricKeyType)
    return 'tls: private key type does not match public key type';
  return read.checkPrivateKey(secret) ? undefined : 'tls: private key does not match public key';
}

function noCertificate(blocks: Block[]): string {
  const [only] = blocks;
  if (only === undefined) return 'tls: failed to find any PEM data in certificate input';
  if (blocks.length === 1 && only.type.endsWith('PRIVATE KEY'))
    return 'tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched';
  return `tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types: [${blocks.map(({ type }) => type).join(' ')}]`;
}

function noKey(blocks: Block[]): string {
  const [only] = blocks;
  if (only === undefined) return 'tls: failed to find any PEM data in key input';
  if (blocks.length === 1 && only.type === 'CERTIFICATE')
    return 'tls: found a certificate rather than a key in the PEM for the private key';
  return `tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the following types: [${blocks.map(({ type }) => type).join(' ')}]`;
}

function readCertificate(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(text);
  } catch {
    // None that OpenSSL can read either.
    return undefined;
  }
}

function readKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(text);
  } catch {
    return undefined;
  }
}
