/** One certificate by ACME: key and request are kept first, then the order's address, then what comes of it. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { Client } from '#cluster/client/client.ts';
import { createRequest } from '#lib/certificate-requests.ts';
import type { AcmeSettings } from '../certificates.ts';
import { forgetNext, keepNext, keepOrder, type NextCertificate, readNext } from '../kept.ts';
import { accountKey } from './account.ts';
import type { Challenges } from './challenges.ts';
import { AcmeClient } from './client.ts';
import { acmeHttp } from './http.ts';
import { obtainCertificate } from './order.ts';
import { AcmeError } from './problem.ts';

export interface AcmeIssuerOptions {
  client: Client;
  settings: AcmeSettings;
  challenges: Challenges;
  signal: AbortSignal;
  now: () => number;
}

/** @param name  of the certificate */
export type Issue = (name: string, hosts: readonly string[]) => Promise<{ certificate: string; key: string }>;

export function acmeIssuer({ client, settings, challenges, signal, now }: AcmeIssuerOptions): Issue {
  const http = acmeHttp(settings.authorities);
  let opened: Promise<AcmeClient> | undefined;
  const acme = (): Promise<AcmeClient> => {
    opened ??= accountKey(client, settings.directory).then(
      (key) => new AcmeClient({ settings, key, http, signal, now }),
    );
    opened.catch(() => (opened = undefined));
    return opened;
  };
  return async (name, hosts) => {
    const next = await nextOf(client, name, hosts);
    try {
      const certificate = await obtainCertificate({
        client: await acme(),
        challenges,
        hosts,
        request: derOf(next.request),
        kept: isOf(settings, next.order) ? next.order : undefined,
        keep: (order) => keepOrder(client, name, order),
        signal,
        now,
      });
      if (isFor(certificate, next.key, hosts)) return { certificate, key: next.key };
      throw new AcmeError('protocol', 'the server gave a certificate for another key or other hosts');
    } catch (error) {
      // What the server has decided on is over: the next attempt begins anew. Where it did not answer, the order is still there.
      if (error instanceof AcmeError && error.code !== 'unreachable') await forgetNext(client, name);
      throw error;
    }
  };
}

async function nextOf(client: Client, name: string, hosts: readonly string[]): Promise<NextCertificate> {
  const kept = await readNext(client, name);
  if (kept !== undefined) return kept;
  const made = await createRequest({ dnsNames: [...hosts] });
  await keepNext(client, name, made);
  return made;
}

/** Another server than the one that was asked before knows nothing of its orders. */
function isOf({ directory }: AcmeSettings, order: string | undefined): boolean {
  return order !== undefined && URL.parse(order)?.origin === new URL(directory).origin;
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
}

function isFor(chain: string, key: string, hosts: readonly string[]): boolean {
  try {
    const certificate = new X509Certificate(chain);
    return (
      certificate.checkPrivateKey(createPrivateKey(key)) &&
      hosts.every((host) => certificate.checkHost(host) !== undefined)
    );
  } catch {
    // Not even a certificate.
    return false;
  }
}
