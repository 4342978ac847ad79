/**
 * What a request for a certificate must be for each of the signers, and nothing else: the authority that signs them also tells apart who may do
 * what elsewhere, by names and organizations. Kubernetes "Certificate Signing Requests", "Kubernetes signers". Pure.
 */
import type { RequestedSubject } from '#lib/certificate-requests.ts';

/** Clients of the API server; nobody's request is approved by itself. */
export const API_CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client';
/** Nodes, as clients of the API server. */
export const CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
/** Nodes, as whom the API server asks. */
export const SERVING_SIGNER = 'kubernetes.io/kubelet-serving';
const SIGNERS = [API_CLIENT_SIGNER, CLIENT_SIGNER, SERVING_SIGNER] as const;
export type Signer = (typeof SIGNERS)[number];
type NodeSigner = typeof CLIENT_SIGNER | typeof SERVING_SIGNER;

/** What opens other doors than the API server's, or every one of its: no request gets a certificate with it, whoever approved it. */
export interface Reserved {
  commonNames: readonly string[];
  organizations: readonly string[];
}

const GROUP = 'system:nodes';
const USER = 'system:node:';
const NODE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** The second is for keys that can also encrypt. */
const NODE_USAGES: Readonly<Record<NodeSigner, readonly string[]>> = {
  [CLIENT_SIGNER]: ['client auth,digital signature', 'client auth,digital signature,key encipherment'],
  [SERVING_SIGNER]: ['digital signature,server auth', 'digital signature,key encipherment,server auth'],
};
const API_CLIENT_USAGES: readonly string[] = ['client auth', 'digital signature', 'key encipherment'];

export function isOurs(signer: string): signer is Signer {
  return (SIGNERS as readonly string[]).includes(signer);
}

/** The node that a certificate is for; undefined for any other. */
export function nodeNameOf({ commonNames }: RequestedSubject): string | undefined {
  const [name = ''] = commonNames;
  const node = name.startsWith(USER) ? name.slice(USER.length) : '';
  return commonNames.length === 1 && node.length <= 253 && NODE_NAME.test(node) ? node : undefined;
}

export interface SignerQuestion {
  signer: Signer;
  subject: RequestedSubject;
  usages: readonly string[];
  reserved: Reserved;
}

/** Why the signer does not sign it, as upstream says it where it refuses it too; undefined where it does. */
export function refusalOf(question: SignerQuestion): string | undefined {
  const { signer } = question;
  return signer === API_CLIENT_SIGNER ? clientRefusal(question) : nodeRefusal({ ...question, signer });
}

function clientRefusal({ subject, usages, reserved }: SignerQuestion): string | undefined {
  const { commonNames, organizations } = subject;
  if (commonNames.length !== 1) return `subject has ${commonNames.length} common names: expected one`;
  const name = commonNames.find((one) => reserved.commonNames.includes(one));
  if (name !== undefined) return `subject common name ${name} is reserved`;
  const organization = organizations.find((one) => reserved.organizations.includes(one));
  if (organization !== undefined) return `subject organization ${organization} is reserved`;
  const usage = usages.find((one) => !API_CLIENT_USAGES.includes(one));
  if (usage !== undefined) return `invalid usage for client certificate: ${usage}`;
  return usages.includes('client auth') ? undefined : 'missing required usage for client certificate: client auth';
}

function nodeRefusal({
  signer,
  subject,
  usages,
}: {
  signer: NodeSigner;
  subject: RequestedSubject;
  usages: readonly string[];
}): string | undefined {
  const { organizations, dnsNames, ips, emails, uris, otherNames } = subject;
  if (organizations.length !== 1 || organizations[0] !== GROUP) return `subject organization is not ${GROUP}`;
  if (nodeNameOf(subject) === undefined) return `subject common name does not begin with ${USER}`;
  if (emails.length > 0) return 'Email subjectAltNames are not allowed';
  if (uris.length > 0) return 'URI subjectAltNames are not allowed';
  if (otherNames.length > 0) return 'only DNS and IP subjectAltNames are allowed';
  if (signer === CLIENT_SIGNER && dnsNames.length > 0) return 'DNS subjectAltNames are not allowed';
  if (signer === CLIENT_SIGNER && ips.length > 0) return 'IP subjectAltNames are not allowed';
  if (signer === SERVING_SIGNER && dnsNames.length + ips.length === 0)
    return 'at least one DNS or IP subjectAltName is required';
  if (!NODE_USAGES[signer].includes([...usages].sort().join(',')))
    return `usages did not match ${NODE_USAGES[signer][0]}`;
  return undefined;
}
