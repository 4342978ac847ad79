/**
 * The instance's own authority and the certificates made by it, under `<data>/pki` (mode 0700): made where missing,
 * made anew 30 days before they end or when the names they must hold change. The authority is made once.
 */
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { CertificateRequest } from '#lib/certificates.ts';
import type { Instance } from './instance.ts';

export type CertificateName =
  | 'kubernetes' // the API server's own
  | 'apiserver-client' // the API server to node agents
  | 'agent' // the node agent, client and server
  | 'platform' // the platform plank to the API server
  | 'admin' // the administrator's kubeconfig
  | 'registry'
  | 'docker' // the Docker API's TCP door
  | 'docker-client' // who may use it
  | 'router'; // *.DOMAIN

export interface KeyPairFiles {
  certificate: string;
  key: string;
}

const leafDays = 365;
const renewBefore = 30 * 86_400_000;

/** The host's own address in the pods' network: where pods reach what listens on the host. */
export function podGateway({ network }: Instance): string {
  return firstAddress(network.podCidr);
}

export function caFile(instance: Instance): string {
  return join(instance.dataDirectory, 'pki', 'ca.crt');
}

export function readCa(instance: Instance): string {
  return readFileSync(caFile(instance), 'utf8');
}

/** Signs certificates of nodes, in the server alone. */
export function readAuthority(instance: Instance): KeyPairFiles {
  return readFiles(instance, 'ca');
}

export function readPair(instance: Instance, name: CertificateName): KeyPairFiles {
  return readFiles(instance, name);
}

function readFiles(instance: Instance, name: string): KeyPairFiles {
  const base = join(instance.dataDirectory, 'pki', name);
  return { certificate: readFileSync(`${base}.crt`, 'utf8'), key: readFileSync(`${base}.key`, 'utf8') };
}

/** For hosts of the platform's domains: signed when it is called, kept by the caller. */
export async function signForRouter(instance: Instance, hosts: readonly string[]): Promise<KeyPairFiles> {
  const { issueCertificate } = await import('#lib/certificates.ts');
  const names = { commonName: hosts[0]?.slice(0, 64) ?? '', dnsNames: [...hosts] };
  return await issueCertificate(readAuthority(instance), { ...names, usages: ['server'], days: leafDays });
}

export type WantedCertificate = [CertificateName, CertificateRequest];

/**
 * @param further  besides those that every instance has
 * @returns whether some were made anew because they end soon: what runs has the old ones
 */
export async function ensureCertificates(instance: Instance, further: WantedCertificate[] = []): Promise<boolean> {
  const directory = join(instance.dataDirectory, 'pki');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const wanted = [...requests(instance), ...further];
  let authority = existing(directory, 'ca');
  const due = wanted.filter(([name, request]) => !authority || !fits(directory, name, request));
  if (authority && due.length === 0) return false;
  const renewed = due.some(([name]) => endsSoon(existing(directory, name)));
  const { createAuthority, issueCertificate } = await import('#lib/certificates.ts');
  if (!authority) {
    authority = await createAuthority({ commonName: `sampan ${instance.name}`, days: 3650 });
    writePair(directory, 'ca', authority);
  }
  const signer = authority;
  await Promise.all(
    due.map(async ([name, request]) => writePair(directory, name, await issueCertificate(signer, request))),
  );
  return renewed;
}

const frontProxyAuthority = 'front-proxy-ca';
const frontProxyClient = 'front-proxy-client';

/**
 * With it the API server says to those behind it who asks: of an authority that signs nothing else, as whoever had another certificate
 * with this name could say that it is anybody. Made where it is missing, by the server alone.
 */
export async function frontProxyOf(instance: Instance): Promise<KeyPairFiles & { ca: string }> {
  await ensureFrontProxy(join(instance.dataDirectory, 'pki'));
  return {
    ...readFiles(instance, frontProxyClient),
    ca: readFiles(instance, frontProxyAuthority).certificate,
  };
}

async function ensureFrontProxy(directory: string): Promise<void> {
  const request = { commonName: frontProxyClient, usages: ['client' as const], days: leafDays };
  let authority = existing(directory, frontProxyAuthority);
  if (authority && fits(directory, frontProxyClient, request)) return;
  const { createAuthority, issueCertificate } = await import('#lib/certificates.ts');
  if (!authority) {
    authority = await createAuthority({ commonName: 'front-proxy', days: 3650 });
    writePair(directory, frontProxyAuthority, authority);
  }
  writePair(directory, frontProxyClient, await issueCertificate(authority, request));
}

/**
 * For the Docker API over TCP. Whoever shows the client's is root here, so it is told from the others of the authority by its
 * organization.
 * @param host  what clients are to reach, besides the names and addresses of this host
 */
export function dockerCertificates(instance: Instance, host: string): WantedCertificate[] {
  const ips = ['127.0.0.1', '::1', ...hostAddresses()];
  const dnsNames = ['localhost', instance.nodeName];
  if (isIP(host) === 0) dnsNames.push(host);
  else if (!['0.0.0.0', '::'].includes(host)) ips.push(host);
  const names = { ips: [...new Set(ips)], dnsNames: [...new Set(dnsNames)] };
  return [
    ['docker', { commonName: 'docker', ...names, usages: ['server'], days: leafDays }],
    [
      'docker-client',
      { commonName: 'docker-client', organizations: [dockerClients], usages: ['client'], days: leafDays },
    ],
  ];
}

/** The organization in certificates of those who may use the Docker API over TCP. */
export const dockerClients = 'system:sampan:docker-clients';
/** The API server, to node agents. */
const apiServerName = 'system:apiserver';

/** Who has one of these is root on a host: nobody gets a certificate for them by asking the cluster. */
export const RESERVED_SUBJECTS = {
  commonNames: [apiServerName],
  organizations: [dockerClients, 'system:masters'],
};

function requests(instance: Instance): WantedCertificate[] {
  const ips = [
    ...new Set([
      '127.0.0.1',
      '::1',
      ...hostAddresses(),
      firstAddress(instance.network.serviceCidr),
      podGateway(instance),
    ]),
  ];
  const server = { usages: ['server' as const], days: leafDays };
  const client = { usages: ['client' as const], days: leafDays };
  const local = ['localhost', instance.nodeName];
  return [
    [
      'kubernetes',
      {
        ...server,
        commonName: 'kubernetes',
        ips,
        dnsNames: [
          ...local,
          'kubernetes',
          'kubernetes.default',
          'kubernetes.default.svc',
          'kubernetes.default.svc.cluster.local',
          `kubernetes.${instance.domain}`,
        ],
      },
    ],
    ['apiserver-client', { ...client, commonName: apiServerName }],
    [
      'agent',
      {
        commonName: `system:node:${instance.nodeName}`,
        organizations: ['system:nodes'],
        dnsNames: local,
        ips,
        usages: ['server', 'client'],
        days: leafDays,
      },
    ],
    ['platform', { ...client, commonName: 'system:sampan:platform', organizations: ['system:sampan:platform'] }],
    ['admin', { ...client, commonName: 'admin', organizations: ['system:masters'] }],
    ['registry', { ...server, commonName: 'registry', ips, dnsNames: [...local, `registry.${instance.domain}`] }],
    [
      'router',
      {
        ...server,
        commonName: instance.domain,
        dnsNames: [instance.domain, `*.${instance.domain}`],
        ips: ['127.0.0.1', '::1'],
      },
    ],
  ];
}

function hostAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => address.family === 'IPv4' && !address.internal)
    .map((address) => address.address);
}

/** Of a range that begins at a multiple of 256. */
export function firstAddress(cidr: string): string {
  return cidr.replace(/\.0\/\d+$/, '.1');
}

function endsSoon(pair: KeyPairFiles | undefined): boolean {
  return pair !== undefined && new X509Certificate(pair.certificate).validToDate.getTime() < Date.now() + renewBefore;
}

function fits(directory: string, name: string, request: CertificateRequest): boolean {
  const pair = existing(directory, name);
  if (!pair || endsSoon(pair)) return false;
  const certificate = new X509Certificate(pair.certificate);
  return (
    (request.dnsNames ?? []).every((host) => host.startsWith('*') || certificate.checkHost(host) !== undefined) &&
    (request.ips ?? []).every((ip) => certificate.checkIP(ip) !== undefined)
  );
}

function existing(directory: string, name: string): KeyPairFiles | undefined {
  try {
    return {
      certificate: readFileSync(join(directory, `${name}.crt`), 'utf8'),
      key: readFileSync(join(directory, `${name}.key`), 'utf8'),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The key goes first: a certificate that is there always has its key. */
function writePair(directory: string, name: string, pair: KeyPairFiles): void {
  for (const [ending, text, mode] of [
    ['key', pair.key, 0o600],
    ['crt', pair.certificate, 0o644],
  ] as const) {
    const path = join(directory, `${name}.${ending}`);
    writeFileSync(`${path}.new`, text, { mode, flush: true });
    renameSync(`${path}.new`, path);
  }
}
