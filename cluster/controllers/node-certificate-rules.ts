/**
 * What a request for a node's certificate must be, and nothing else: the authority that signs them also tells apart who may do
 * what elsewhere, by names and organizations. Kubernetes "Certificate Signing Requests", "Kubernetes signers". Pure.
 */
import type { RequestedSubject } from '#lib/certificate-requests.ts';

export const CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
export const SERVING_SIGNER = 'kubernetes.io/kubelet-serving';
export type NodeSigner = typeof CLIENT_SIGNER | typeof SERVING_SIGNER;

const GROUP = 'system:nodes';
const USER = 'system:node:';
const NODE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** The second is for keys that can also encrypt. */
const USAGES: Readonly<Record<NodeSigner, readonly string[]>> = {
  [CLIENT_SIGNER]: ['client auth,digital signature', 'client auth,digital signature,key encipherment'],
  [SERVING_SIGNER]: ['digital signature,server auth', 'digital signature,key encipherment,server auth'],
};

export function isNodeSigner(signer: string): signer is NodeSigner {
  return signer === CLIENT_SIGNER || signer === SERVING_SIGNER;
}

/** The node that a certificate is for; undefined for any other. */
export function nodeNameOf({ commonNames }: RequestedSubject): string | undefined {
  const [name = ''] = commonNames;
  const node = name.startsWith(USER) ? name.slice(USER.length) : '';
  return commonNames.length === 1 && node.length <= 253 && NODE_NAME.test(node) ? node : undefined;
}

/** Why the signer does not sign it, as upstream says it; undefined where it does. */
export function refusalOf(
  signer: NodeSigner,
  subject: RequestedSubject,
  usages: readonly string[],
): string | undefined {
  const { organizations, dnsNames, ips, otherNames } = subject;
  if (organizations.length !== 1 || organizations[0] !== GROUP) return `subject organization is not ${GROUP}`;
  if (nodeNameOf(subject) === undefined) return `subject common name does not begin with ${USER}`;
  if (otherNames.length > 0) return 'only DNS and IP subjectAltNames are allowed';
  if (signer === CLIENT_SIGNER && dnsNames.length > 0) return 'DNS subjectAltNames are not allowed';
  if (signer === CLIENT_SIGNER && ips.length > 0) return 'IP subjectAltNames are not allowed';
  if (signer === SERVING_SIGNER && dnsNames.length + ips.length === 0)
    return 'at least one DNS or IP subjectAltName is required';
  if (!USAGES[signer].includes([...usages].sort().join(','))) return `usages did not match ${USAGES[signer][0]}`;
  return undefined;
}
