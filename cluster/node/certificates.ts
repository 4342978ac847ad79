/** A node's own certificates: asked for by CertificateSigningRequests, kept in files, renewed when four fifths of their life are over. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { isFor } from '#lib/certificate-names.ts';
import { createRequest } from '#lib/certificate-requests.ts';
import { ApiError, type Client } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import { certificateSigningRequests } from '../kinds/resources.ts';
import type { CertificateSigningRequest } from '../kinds/types/certificates.ts';
import type { AgentOptions } from './agent.ts';

/** PEM. */
export interface CertificatePair {
  certificate: string;
  key: string;
  /** Milliseconds since the epoch. */
  endsAt: number;
  renewAt: number;
}

export interface CertificateWish {
  signerName: string;
  usage: 'client auth' | 'server auth';
  nodeName: string;
  names: { dnsNames?: string[]; ips?: string[] };
  /** Of the file, certificate and key one after the other: they are replaced together. */
  path: string;
  signal: AbortSignal;
  log: AgentOptions['log'];
}

export function pairPath(directory: string, name: 'client' | 'serving'): string {
  return join(directory, `${name}.pem`);
}

/** Undefined where there is none, or none that can be read. */
export async function readPair(directory: string, name: 'client' | 'serving'): Promise<CertificatePair | undefined> {
  let text: string;
  try {
    text = await readFile(pairPath(directory, name), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parsePair(text);
}

function parsePair(text: string): CertificatePair | undefined {
  const certificate = /-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\n?/.exec(text)?.[0];
  const key = /-----BEGIN PRIVATE KEY-----[\s\S]+-----END PRIVATE KEY-----\n?/.exec(text)?.[0];
  if (certificate === undefined || key === undefined) return undefined;
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  const [from, endsAt] = [validFromDate.getTime(), validToDate.getTime()];
  return { certificate, key, endsAt, renewAt: from + (endsAt - from) * 0.8 };
}

/** The pair where it need not be renewed, and is for all of these names. */
export function freshPair(
  pair: CertificatePair | undefined,
  { names = [] }: { names?: string[] },
): CertificatePair | undefined {
  if (pair === undefined || pair.renewAt <= Date.now()) return undefined;
  const certificate = new X509Certificate(pair.certificate);
  return names.every((name) => isFor(certificate, name)) ? pair : undefined;
}

/** Resolves when it was signed and is on disk; waits as long as nobody decides. Rejects where it was denied. */
export async function requestCertificate(client: Client, wish: CertificateWish): Promise<CertificatePair> {
  const { signerName, usage, nodeName, names, path } = wish;
  const { request, key } = await createRequest({
    commonName: `system:node:${nodeName}`,
    organizations: ['system:nodes'],
    ...names,
  });
  const created = await client.create(certificateSigningRequests, {
    metadata: { generateName: 'csr-' },
    spec: {
      signerName,
      request: Buffer.from(request).toString('base64'),
      usages: ['digital signature', usage],
    },
  });
  const certificate = await issued(client, created.metadata.name, wish);
  const pair = parsePair(`${certificate}\n${key}`);
  if (pair === undefined) throw new ApiError(500, 'InternalError', `${signerName} signed what is no certificate`);
  await writeFileAtomic(path, `${pair.certificate}${pair.key}`, { mode: 0o600 });
  return pair;
}

async function issued(client: Client, name: string, { signerName, signal, log }: CertificateWish): Promise<string> {
  const informer = createInformer(client, certificateSigningRequests, {
    fieldSelector: `metadata.name=${name}`,
    onError: (error) => log('warn', 'a certificate is waited for; it is tried again', { error: String(error) }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const look = ({ status }: CertificateSigningRequest): void => {
    const { certificate, conditions = [] } = status ?? {};
    const refused = conditions.find(({ type }) => type === 'Denied' || type === 'Failed');
    if (certificate) resolve(Buffer.from(certificate, 'base64').toString());
    else if (refused !== undefined)
      reject(
        new ApiError(
          403,
          'Forbidden',
          `certificate request ${name} (${signerName}): ${refused.message ?? refused.type}`,
        ),
      );
  };
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  informer.onChange((now) => {
    if (now === undefined)
      reject(new ApiError(0, 'Gone', `certificate request ${name} was removed before it was decided`));
    else look(now);
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    informer.close();
  }
}
