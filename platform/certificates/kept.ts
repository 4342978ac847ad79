/** Certificates and keys in their Secrets, in the system namespace. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../resources/kubernetes.ts';
import { labels, systemNamespace } from '../resources/types.ts';
import { putSecret, secretData, secretText } from '../resources/secrets.ts';

const ORDER = 'platform.sampan.dev/acme-order';
const REQUEST = 'request';

export interface KeptCertificate {
  pem: string;
  notBefore: number;
  notAfter: number;
  issuer: string;
  serial: string;
  /** Is it for this host? */
  isFor(host: string): boolean;
}

export function secretName(certificate: string): string {
  return `certificate-${certificate}`;
}

/** Undefined where there is none, or no whole one. */
export function readKept(secret: Secret | undefined): KeptCertificate | undefined {
  const [chain, key] = [secretText(secret, 'tls.crt'), secretText(secret, 'tls.key')];
  try {
    const certificate = new X509Certificate(chain);
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return undefined;
    return {
      pem: `${chain}\n${key}`,
      notBefore: certificate.validFromDate.getTime(),
      notAfter: certificate.validToDate.getTime(),
      issuer: /^(?:CN|O)=(.*)$/m.exec(certificate.issuer)?.[1] ?? certificate.issuer,
      serial: certificate.serialNumber,
      isFor: (host) => certificate.checkHost(host.replace(/^\*\./, 'any.')) !== undefined,
    };
  } catch {
    // Somebody else's making: it is as if it were not there, and is replaced.
    return undefined;
  }
}

function bodyOf(name: string, certificate: string, texts: Record<string, string>): Secret {
  return {
    metadata: { name, namespace: systemNamespace, labels: { [labels.certificate]: certificate } },
    type: 'Opaque',
    data: secretData(texts),
  };
}

/** Replaces what was there. */
export async function keepCertificate(
  client: Client,
  certificate: string,
  pair: { certificate: string; key: string },
): Promise<Stored<Secret>> {
  const body = bodyOf(secretName(certificate), certificate, { 'tls.crt': pair.certificate, 'tls.key': pair.key });
  return await putSecret(client, body);
}

export interface NextCertificate {
  key: string;
  /** Certificate request, PEM. */
  request: string;
  order?: string;
}

export async function readNext(client: Client, certificate: string): Promise<NextCertificate | undefined> {
  const secret = await found(client, nextName(certificate));
  if (secret === undefined) return undefined;
  const order = secret.metadata.annotations?.[ORDER];
  return {
    key: secretText(secret, 'tls.key'),
    request: secretText(secret, REQUEST),
    ...(order === undefined ? {} : { order }),
  };
}

export async function keepNext(client: Client, certificate: string, next: NextCertificate): Promise<void> {
  await client.create(
    secrets,
    bodyOf(nextName(certificate), certificate, { 'tls.key': next.key, [REQUEST]: next.request }),
  );
}

export async function keepOrder(client: Client, certificate: string, order: string): Promise<void> {
  const body = { metadata: { annotations: { [ORDER]: order } } };
  await client.patch(secrets, nextName(certificate), { type: 'merge', body }, { namespace: systemNamespace });
}

export async function forgetNext(client: Client, certificate: string): Promise<void> {
  await remove(client, nextName(certificate));
}

export async function forgetCertificate(client: Client, certificate: string): Promise<void> {
  await remove(client, secretName(certificate));
  await remove(client, nextName(certificate));
}

function nextName(certificate: string): string {
  return `${secretName(certificate)}-next`;
}

async function found(client: Client, name: string): Promise<Stored<Secret> | undefined> {
  return await orUndefined(client.get(secrets, name, systemNamespace));
}

async function remove(client: Client, name: string): Promise<void> {
  await orUndefined(client.delete(secrets, name, { namespace: systemNamespace }));
}
