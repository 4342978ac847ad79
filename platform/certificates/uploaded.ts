/** A certificate that somebody brings for a domain: checked, and put down as its own `DomainCertificate`. */
import { createPrivateKey, X509Certificate } from 'node:crypto';

export interface Uploaded {
  /** Chain, the leaf first; and its key. PEM, nothing else in them. */
  certificate: string;
  key: string;
  /** Of the certificate's names those that are of the domain. */
  hosts: string[];
}

/** `message` is for who uploads. */
export class UploadRefusal extends Error {}

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----[A-Za-z0-9+/=\s]+-----END \1-----/;
const MOST = 64 * 1024;

export function uploadedName(domain: string): string {
  return `uploaded-${domain}`;
}

/** @throws UploadRefusal */
export function readUpload(domain: string, chainText: string, keyText: string, now: number): Uploaded {
  if (chainText.length > MOST || keyText.length > MOST)
    throw new UploadRefusal(`Certificate or key have more than ${MOST} characters`);
  const chain = chainText.match(CERTIFICATES) ?? [];
  const [key] = KEY.exec(keyText) ?? [];
  if (key === undefined)
    throw new UploadRefusal('The private key must be PEM (PKCS #8, or of RSA or EC), without a passphrase');
  const leaf = leafOf(chain);
  if (!leaf.checkPrivateKey(privateKeyOf(key)))
    throw new UploadRefusal('The private key is that of another certificate');
  if (leaf.validToDate.getTime() <= now)
    throw new UploadRefusal(`The certificate has expired at ${leaf.validToDate.toISOString()}`);
  const names = [...(leaf.subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"]+)/g)].map(([, name = '']) =>
    name.toLowerCase(),
  );
  const hosts = names.filter((name) => HOST.test(name) && (name === domain || name.endsWith(`.${domain}`)));
  if (hosts.length === 0)
    throw new UploadRefusal(
      `The certificate is for ${names.join(', ') || 'no name'}, and not for ${domain} or *.${domain}`,
    );
  return { certificate: `${chain.join('\n')}\n`, key: `${key}\n`, hosts: [...new Set(hosts)] };
}

/** As the router takes them. */
const HOST = /^(\*\.)?([a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$/;

function leafOf([first]: readonly string[]): X509Certificate {
  if (first === undefined) throw new UploadRefusal('The certificate must be PEM, the chain after it');
  try {
    return new X509Certificate(first);
  } catch {
    throw new UploadRefusal('The certificate cannot be read');
  }
}

function privateKeyOf(pem: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new UploadRefusal('The private key cannot be read');
  }
}
