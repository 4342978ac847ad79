/**
 * A JKS key store with certificates of authorities, as the JDK's `cacerts` is one (sun.security.provider.JavaKeyStore). The
 * tool that Java has for it would need a second for each certificate.
 */
import { createHash, X509Certificate } from 'node:crypto';

const MAGIC = 0xfeedfeed;
const VERSION = 2;
const TRUSTED_CERTIFICATE = 2;
/** Java's own default; it protects nothing, and readers need not give it. */
const PASSWORD = 'changeit';

/** @param bundle  PEM, one certificate after the other; what is none between them is passed over */
export function javaTrustStore(bundle: string): Buffer {
  const blocks = bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  const certificates = new Map<string, Buffer>();
  for (const block of blocks) {
    const { raw } = new X509Certificate(block);
    certificates.set(createHash('sha256').update(raw).digest('hex'), raw);
  }
  const parts: Buffer[] = [words(MAGIC, VERSION, certificates.size)];
  for (const [alias, raw] of [...certificates].sort(([left], [right]) => (left < right ? -1 : 1))) {
    // Of eight bytes for the time of its making, none: the same certificates make the same file.
    parts.push(words(TRUSTED_CERTIFICATE), text(alias), words(0, 0), text('X.509'), words(raw.length), raw);
  }
  const content = Buffer.concat(parts);
  const password = Buffer.from(PASSWORD, 'utf16le').swap16();
  const seal = createHash('sha1').update(password).update('Mighty Aphrodite').update(content).digest();
  return Buffer.concat([content, seal]);
}

function words(...numbers: number[]): Buffer {
  const buffer = Buffer.alloc(4 * numbers.length);
  for (const [index, number] of numbers.entries()) buffer.writeUInt32BE(number, 4 * index);
  return buffer;
}

function text(value: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(value.length);
  return Buffer.concat([length, Buffer.from(value, 'latin1')]);
}
