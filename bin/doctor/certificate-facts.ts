/** The certificates of an instance: those in its files, and those of the router as the platform says where it runs. */
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { askCluster } from '../ask-cluster.ts';
import type { Instance } from '../instance.ts';

export interface CertificateFact {
  /** Of the instance: its file's name without its ending. Of the router: its hosts. */
  name: string;
  /** `authority` and `instance` are files; the others are the router's (`platform/certificates/certificates.ts`). */
  source: 'authority' | 'instance' | 'uploaded' | 'acme' | 'own';
  /** Milliseconds since the epoch. Undefined: there is none, or none that can be read. */
  notAfter: number | undefined;
  /** When it is to be made anew, where it is made here. */
  renewAt?: number;
  /** Why it could not be made, or read. */
  problem?: string;
}

interface CertificateList {
  items: {
    spec: { source: 'uploaded' | 'acme' | 'own'; hosts: string[] };
    status?: { notAfter?: string; renewAt?: string; error?: { detail: string } | null };
  }[];
}

export async function readCertificateFacts(instance: Instance): Promise<CertificateFact[]> {
  const directory = join(instance.dataDirectory, 'pki');
  const files = filesOf(directory).map((file): CertificateFact => {
    const name = file.replace(/\.crt$/, '');
    const source = name === 'ca' || name.endsWith('-ca') ? 'authority' : 'instance';
    try {
      const { validToDate } = new X509Certificate(readFileSync(join(directory, file)));
      return { name, source, notAfter: validToDate.getTime() };
    } catch (error) {
      return { name, source, notAfter: undefined, problem: (error as Error).message };
    }
  });
  return files.length === 0 ? [] : [...files, ...(await readRouters(instance))];
}

async function readRouters(instance: Instance): Promise<CertificateFact[]> {
  const list = await askCluster<CertificateList>(instance, '/apis/platform.sampan.dev/v1/domaincertificates');
  return (list?.items ?? []).map(({ spec, status = {} }) => ({
    name: spec.hosts.join(', '),
    source: spec.source,
    notAfter: status.notAfter === undefined ? undefined : Date.parse(status.notAfter),
    ...(status.renewAt === undefined ? {} : { renewAt: Date.parse(status.renewAt) }),
    ...(status.error ? { problem: status.error.detail } : {}),
  }));
}

/** None before the instance was started for the first time, nor for who may not look. */
function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((file) => file.endsWith('.crt'))
      .sort();
  } catch {
    return [];
  }
}
