/** Requests for certificates (PKCS #10, RFC 2986), PEM in and out: made by who wants one, read and signed by who gives them. */
import {
  CertificateError,
  type CertificateRequest,
  type KeyPair,
  type Leaf,
  SIGNING,
  alternativeNames,
  exportKey,
  generateKeys,
  loadX509,
  signLeaf,
  skewOf,
} from './certificates.ts';

export interface RequestedSubject {
  /** Every one that is in it; a proper request has one. */
  commonNames: string[];
  organizations: string[];
  dnsNames: string[];
  ips: string[];
  emails: string[];
  uris: string[];
  /** Names of other kinds, as `dn:CN=a`. */
  otherNames: string[];
}

/** A new key, and the request that proves to have it. Without a common name its names are the alternative ones alone. */
export async function createRequest(
  subject: Partial<Pick<CertificateRequest, 'commonName' | 'organizations' | 'dnsNames' | 'ips' | 'emails' | 'uris'>>,
): Promise<{ request: string; key: string }> {
  const x509 = await loadX509();
  const keys = await generateKeys();
  const names = alternativeNames(subject);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [
      ...(subject.organizations ?? []).map((O) => ({ O: [O] })),
      ...(subject.commonName === undefined ? [] : [{ CN: [subject.commonName] }]),
    ],
    keys,
    signingAlgorithm: SIGNING,
    extensions: names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [],
  });
  return { request: request.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** What a request asks for. Throws `CertificateError` when it cannot be read. */
export async function readRequest(pem: string): Promise<RequestedSubject> {
  const { subjectName, extensions } = await parse(pem);
  const { SubjectAlternativeNameExtension } = await loadX509();
  // The library's own kind of array would make others of itself.
  const names = [...extensions].flatMap((extension) =>
    extension instanceof SubjectAlternativeNameExtension ? [...extension.names.items] : [],
  );
  const ofType = (type: string): string[] => names.filter((name) => name.type === type).map(({ value }) => value);
  return {
    commonNames: subjectName.getField('CN'),
    organizations: subjectName.getField('O'),
    dnsNames: ofType('dns'),
    ips: ofType('ip'),
    emails: ofType('email'),
    uris: ofType('url'),
    otherNames: names
      .filter(({ type }) => !['dns', 'ip', 'email', 'url'].includes(type))
      .map(({ type, value }) => `${type}:${value}`),
  };
}

/**
 * A certificate (PEM) for the key of a request. Nothing else of the request is taken over: `leaf` says everything. Throws
 * `CertificateError` when the request cannot be read, or was not made with the key that it is for.
 */
export async function signRequest(
  authority: KeyPair,
  pem: string,
  leaf: Omit<Leaf, 'notBefore' | 'notAfter'> & { seconds: number },
): Promise<string> {
  const request = await parse(pem);
  if (!(await request.verify().catch(() => false)))
    throw new CertificateError('Cannot sign the certificate request: its signature is not by the key that it holds');
  const { X509Certificate } = await loadX509();
  const { seconds, ...rest } = leaf;
  const now = Date.now();
  const last = new X509Certificate(authority.certificate).notAfter.getTime();
  const notAfter = new Date(Math.min(now + seconds * 1000, last));
  return signLeaf(
    authority,
    { ...rest, notBefore: new Date(now - skewOf(seconds * 1000)), notAfter },
    request.publicKey,
  );
}

async function parse(pem: string) {
  const { Pkcs10CertificateRequest } = await loadX509();
  try {
    return new Pkcs10CertificateRequest(pem);
  } catch (cause) {
    throw new CertificateError('Cannot read the certificate request: expected PKCS #10 in PEM', { cause });
  }
}
