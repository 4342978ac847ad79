/**
 * Requests for certificates (Kubernetes "Certificate Signing Requests", "TLS bootstrapping"): approves what nodes may ask for, signs what was
 * approved, and removes requests that have had their day.
 *
 * A client certificate is given to who may `create` `certificatesigningrequests/nodeclient` (new nodes, by their bootstrap token) or,
 * for the node that one is already, `selfnodeclient`. A serving certificate is given to a node alone, for its own name and
 * for addresses that its Node has; never for a name or address of the cluster's own servers, as whom it could then answer. Everything
 * else, and every other client of the API server, waits for an administrator (`kubectl certificate approve`); what is approved and still
 * breaks a signer's rules is marked Failed.
 */
import { X509Certificate } from 'node:crypto';
import { isFor } from '#lib/certificate-names.ts';
import { type KeyPair, CertificateError } from '#lib/certificates.ts';
import { type RequestedSubject, readRequest, signRequest } from '#lib/certificate-requests.ts';
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { certificateSigningRequests, nodes as nodeResource } from '../kinds/resources.ts';
import type { CertificateSigningRequest, CertificateSigningRequestCondition } from '../kinds/types/certificates.ts';
import type { Node } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import {
  API_CLIENT_SIGNER,
  isOurs,
  nodeNameOf,
  type Reserved,
  refusalOf,
  SERVING_SIGNER,
  type Signer,
} from './certificate-signers.ts';
import { openInformer, timestamp } from './objects.ts';

export interface CertificateRequestOptions {
  authority: KeyPair;
  reserved: Reserved;
  /** PEM, what the cluster's own servers show: no node gets a certificate for what one of these is for. */
  serverCertificates: readonly string[];
}

type Request = Stored<CertificateSigningRequest>;

const YEAR = 365 * 86_400;
const HOUR = 3_600_000;
const PENDING_HOURS = 24;

export function createCertificateRequests({
  authority,
  reserved,
  serverCertificates,
}: CertificateRequestOptions): Controller {
  const servers = serverCertificates.map((certificate) => new X509Certificate(certificate));
  let requests: Informer<CertificateSigningRequest>;
  let nodes: Informer<Node>;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  async function mayBeApproved(client: Client, { spec }: Request, subject: RequestedSubject): Promise<boolean> {
    if (spec.signerName === API_CLIENT_SIGNER) return false;
    const user = spec.username ?? '';
    const node = nodeNameOf(subject) ?? '';
    const isSelf = user === `system:node:${node}` && spec.groups?.includes('system:nodes') === true;
    if (spec.signerName === SERVING_SIGNER) return isSelf && servesItself(node, subject);
    if (isSelf && (await mayCreate(client, spec, 'selfnodeclient'))) return true;
    return await mayCreate(client, spec, 'nodeclient');
  }

  function servesItself(name: string, { dnsNames, ips }: RequestedSubject): boolean {
    const addresses = nodes.get(name)?.status?.addresses ?? [];
    const of = (...types: string[]): string[] =>
      addresses.filter(({ type }) => types.includes(type)).map(({ address }) => address);
    const own = new Set([name, ...of('Hostname', 'InternalDNS', 'ExternalDNS', 'InternalIP', 'ExternalIP')]);
    const isServers = (one: string): boolean => servers.some((server) => isFor(server, one));
    return [...dnsNames, ...ips].every(
      (one) => own.has(one) && !isServers(one) && !/^(127\.|::1$|localhost$)/.test(one),
    );
  }

  async function approve({ client, now }: ControllerContext, request: Request): Promise<void> {
    const time = timestamp(now());
    const condition: CertificateSigningRequestCondition = {
      type: 'Approved',
      status: 'True',
      reason: 'AutoApproved',
      message: 'Auto approving kubelet certificate after SubjectAccessReview.',
      lastUpdateTime: time,
      lastTransitionTime: time,
    };
    const conditions = [...(request.status?.conditions ?? []), condition];
    await write(client, request, 'approval', { ...request.status, conditions });
  }

  async function sign({ client, now }: ControllerContext, request: Request, subject: RequestedSubject): Promise<void> {
    const { spec, status } = request;
    const signer = spec.signerName as Signer;
    const usages = spec.usages ?? [];
    let why = refusalOf({ signer, subject, usages, reserved });
    let certificate: string | undefined;
    try {
      if (why === undefined)
        certificate = await signRequest(authority, decode(spec.request), {
          commonName: subject.commonNames[0] ?? '',
          organizations: subject.organizations,
          dnsNames: subject.dnsNames,
          ips: subject.ips,
          emails: subject.emails,
          uris: subject.uris,
          usages: [signer === SERVING_SIGNER ? 'server' : 'client'],
          keyEncipherment: usages.includes('key encipherment'),
          seconds: Math.min(spec.expirationSeconds ?? YEAR, YEAR),
        });
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      why = error.message;
    }
    const time = timestamp(now());
    const failed: CertificateSigningRequestCondition = {
      type: 'Failed',
      status: 'True',
      reason: 'SignerValidationFailure',
      message: why ?? '',
      lastUpdateTime: time,
      lastTransitionTime: time,
    };
    await write(client, request, 'status', {
      ...status,
      ...(certificate === undefined
        ? { conditions: [...(status?.conditions ?? []), failed] }
        : { certificate: Buffer.from(certificate).toString('base64') }),
    });
  }

  async function reconcile(name: string, context: ControllerContext): Promise<void> {
    const request = requests.get(name);
    if (!request) return;
    const end = endOf(request);
    if (end !== undefined && end <= context.now()) return await remove(context.client, request);
    if (end !== undefined) requeue(name, end - context.now());
    const { signerName, usages = [] } = request.spec;
    if (!isOurs(signerName) || has(request, 'Denied') || has(request, 'Failed') || isIssued(request)) return;
    const subject = await readRequest(decode(request.spec.request)).catch(unreadable);
    if (has(request, 'Approved')) return await sign(context, request, subject);
    if (refusalOf({ signer: signerName, subject, usages, reserved }) !== undefined) return;
    if (await mayBeApproved(context.client, request, subject)) await approve(context, request);
  }

  return {
    name: 'certificate-requests',
    async start(context, enqueue) {
      requeue = enqueue;
      requests = openInformer(context, certificateSigningRequests);
      nodes = openInformer(context, nodeResource);
      requests.onChange((now) => {
        if (now) enqueue(now.metadata.name);
      });
      // A serving certificate may wait for what the node says of its addresses.
      nodes.onChange((now, old) => {
        if (JSON.stringify(now?.status?.addresses) === JSON.stringify(old?.status?.addresses)) return;
        for (const { metadata, spec } of requests.list())
          if (spec.username === `system:node:${now?.metadata.name}`) enqueue(metadata.name);
      });
      await Promise.all([requests.synced, nodes.synced]);
      for (const { metadata } of requests.list()) enqueue(metadata.name);
    },
    keys: () => requests.list().map(({ metadata }) => metadata.name),
    reconcile,
  };
}

function has({ status }: Request, type: string): boolean {
  return status?.conditions?.some((one) => one.type === type) === true;
}

function isIssued({ status }: Request): boolean {
  return Boolean(status?.certificate);
}

/** When it goes, in milliseconds; undefined while somebody may still sign it. */
function endOf(request: Request): number | undefined {
  const { metadata, status } = request;
  const conditions = status?.conditions ?? [];
  if (conditions.length === 0) return Date.parse(metadata.creationTimestamp) + PENDING_HOURS * HOUR;
  if (!has(request, 'Denied') && !has(request, 'Failed') && !isIssued(request)) return undefined;
  const decided = conditions.map((one) => Date.parse(one.lastUpdateTime ?? metadata.creationTimestamp));
  return Math.max(...decided) + HOUR;
}

async function mayCreate(
  client: Client,
  { username, groups, uid, extra }: Request['spec'],
  part: string,
): Promise<boolean> {
  const review = await client.request<{ status?: { allowed?: boolean } }>({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: username,
        groups,
        ...(uid && { uid }),
        ...(extra && { extra }),
        resourceAttributes: {
          group: 'certificates.k8s.io',
          resource: 'certificatesigningrequests',
          subresource: part,
          verb: 'create',
          version: '*',
        },
      },
    },
  });
  return review.status?.allowed === true;
}

async function write(
  client: Client,
  request: Request,
  part: 'approval' | 'status',
  status: CertificateSigningRequest['status'],
): Promise<void> {
  await client.request({
    method: 'PUT',
    path: `/apis/certificates.k8s.io/v1/certificatesigningrequests/${request.metadata.name}/${part}`,
    body: { ...request, apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', status },
  });
}

async function remove(client: Client, { metadata }: Request): Promise<void> {
  try {
    await client.delete(certificateSigningRequests, metadata.name, { preconditions: { uid: metadata.uid } });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

function decode(request: string): string {
  return Buffer.from(request, 'base64').toString();
}

/** Of nobody: no signer's rules fit it. */
function unreadable(error: unknown): RequestedSubject {
  if (!(error instanceof CertificateError)) throw error;
  return { commonNames: [], organizations: [], dnsNames: [], ips: [], emails: [], uris: [], otherNames: [] };
}
