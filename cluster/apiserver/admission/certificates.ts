/** Who may ask for which certificate, approve it and sign it (Kubernetes "Certificate Signing Requests"). */
import { certificateSigningRequests } from '../../kinds/resources.ts';
import type { CertificateSigningRequest } from '../../kinds/types/certificates.ts';
import { isDeepStrictEqual } from 'node:util';
import { mayAccess } from '../authorize.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import type { User } from '../exchange.ts';
import { PRIVILEGED_GROUP } from '../rules.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

const CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client';

export function certificates(core: Core): AdmissionPlugin {
  return {
    name: 'Certificates',
    async validate(request) {
      const { user, operation } = request;
      if (operation === 'CREATE' && isKind(request, certificateSigningRequests)) return checkSubject(request);
      if (user === undefined || operation !== 'UPDATE') return;
      const [now, old] = [
        request.object as unknown as CertificateSigningRequest,
        request.old as unknown as CertificateSigningRequest,
      ];
      if (isKind(request, certificateSigningRequests, 'approval')) {
        if (!isDeepStrictEqual(now.status?.conditions, old.status?.conditions))
          checkSigner(core, request, user, 'approve');
      } else if (isKind(request, certificateSigningRequests, 'status')) {
        const failed = (one: CertificateSigningRequest) =>
          one.status?.conditions?.some(({ type }) => type === 'Failed') === true;
        if (now.status?.certificate !== old.status?.certificate || failed(now) !== failed(old))
          checkSigner(core, request, user, 'sign');
      }
    },
  };
}

function checkSigner(core: Core, request: AdmissionRequest, user: User, verb: 'approve' | 'sign'): void {
  const { signerName } = (request.old as unknown as CertificateSigningRequest).spec;
  const domain = signerName.slice(0, signerName.indexOf('/'));
  const may = (name: string) =>
    mayAccess(core, user, {
      verb,
      group: 'certificates.k8s.io',
      resource: 'signers',
      subresource: '',
      namespace: '',
      name,
    });
  if (may(signerName) || may(`${domain}/*`)) return;
  throw forbidden(request.kind, request.name, `user not permitted to ${verb} requests with signerName "${signerName}"`);
}

/** The group of those who may do everything is given by nobody's request. */
async function checkSubject(request: AdmissionRequest): Promise<void> {
  const { spec } = request.object as unknown as CertificateSigningRequest;
  if (spec.signerName !== CLIENT_SIGNER) return;
  if ((await organizationsOf(spec.request)).includes(PRIVILEGED_GROUP))
    throw forbidden(
      request.kind,
      request.name,
      `use of kubernetes.io/kube-apiserver-client signer with ${PRIVILEGED_GROUP} group is not allowed`,
    );
}

/** What cannot be read is refused by the kind's own validation. */
async function organizationsOf(request: string): Promise<string[]> {
  const { readRequest } = await import('#lib/certificate-requests.ts');
  try {
    return (await readRequest(Buffer.from(request, 'base64').toString())).organizations;
  } catch {
    return [];
  }
}
