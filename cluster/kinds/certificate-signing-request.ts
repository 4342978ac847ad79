import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, duration, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { certificateSigningRequests } from './resources.ts';
import { check, oneOf, present } from './rules.ts';
import type { CertificateSigningRequest } from './types/certificates.ts';

const SHORTEST = 600;
const USAGES = [
  'any',
  'cert sign',
  'client auth',
  'code signing',
  'content commitment',
  'crl sign',
  'data encipherment',
  'decipher only',
  'digital signature',
  'email protection',
  'encipher only',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'key agreement',
  'key encipherment',
  'microsoft sgc',
  'netscape sgc',
  'ocsp signing',
  's/mime',
  'server auth',
  'signing',
  'timestamping',
];

export const certificateSigningRequestKind = defineKind(certificateSigningRequests, {
  schemaName: 'io.k8s.api.certificates.v1.CertificateSigningRequest',
  shortNames: ['csr'],
  subresources: { status: true, approval: true },
  columns: [
    nameColumn,
    ageColumn,
    column<CertificateSigningRequest>('SignerName', 'string', ({ spec }) => spec.signerName || '<none>'),
    column<CertificateSigningRequest>('Requestor', 'string', ({ spec }) => spec.username ?? ''),
    column<CertificateSigningRequest>('RequestedDuration', 'string', ({ spec }) =>
      spec.expirationSeconds === undefined ? '<none>' : duration(spec.expirationSeconds),
    ),
    column<CertificateSigningRequest>('Condition', 'string', conditionText),
  ],
  selectableFields: {
    'spec.signerName': (object) => (object as unknown as CertificateSigningRequest).spec?.signerName ?? '',
  },
  prepareForCreate: (object, user) => {
    const request = object as unknown as CertificateSigningRequest;
    request.status = {};
    if (request.spec === undefined) return;
    // Whoever asks is who is asked about.
    delete request.spec.extra;
    delete request.spec.uid;
    Object.assign(request.spec, {
      username: user.name,
      groups: user.groups,
      ...(user.uid && { uid: user.uid }),
      ...(user.extra && { extra: user.extra }),
    });
  },
  /** A request never changes; its conditions and its certificate come through subresources. */
  prepareForUpdate: (object, old) => {
    object['spec'] = structuredClone(old['spec']);
  },
  prepareStatus: (object, old, time) =>
    dateConditions(object as unknown as CertificateSigningRequest, old as unknown as CertificateSigningRequest, time),
  validate: (object) => {
    const { spec } = object as unknown as CertificateSigningRequest;
    const errors: FieldError[] = [];
    const text = Buffer.from(spec.request ?? '', 'base64').toString();
    if (!/-----BEGIN (NEW )?CERTIFICATE REQUEST-----[\s\S]+-----END (NEW )?CERTIFICATE REQUEST-----/.test(text))
      errors.push(invalid('spec.request', spec.request, 'PEM block type must be CERTIFICATE REQUEST'));
    if ((spec.usages ?? []).length === 0) errors.push(required('spec.usages'));
    for (const [index, usage] of (spec.usages ?? []).entries()) {
      if (!USAGES.includes(usage)) errors.push(notSupported(`spec.usages[${index}]`, usage, USAGES));
      if (spec.usages?.indexOf(usage) !== index) errors.push(duplicate(`spec.usages[${index}]`, usage));
    }
    if (spec.signerName === 'kubernetes.io/legacy-unknown')
      errors.push(
        invalid('spec.signerName', spec.signerName, 'the legacy signerName is not allowed via this API version'),
      );
    else if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[A-Za-z0-9][-A-Za-z0-9_.]*$/.test(spec.signerName ?? ''))
      errors.push(
        invalid(
          'spec.signerName',
          spec.signerName,
          'must be a fully qualified domain and path of the form "example.com/signer-name"',
        ),
      );
    if (spec.expirationSeconds !== undefined && spec.expirationSeconds < SHORTEST)
      errors.push(
        invalid(
          'spec.expirationSeconds',
          spec.expirationSeconds,
          'may not specify a duration less than 600 seconds (10 minutes)',
        ),
      );
    return [
      ...errors,
      ...check(object, {
        'status.conditions[*].type': present(),
        'status.conditions[*].status': [present(), oneOf('False', 'True', 'Unknown')],
      }),
    ];
  },
  validateStatus: (object, old, part) =>
    validateConditions(
      object as unknown as CertificateSigningRequest,
      old as unknown as CertificateSigningRequest,
      part,
    ),
});

/** Whoever decides need not say when. */
function dateConditions({ status }: CertificateSigningRequest, old: CertificateSigningRequest, time: string): void {
  for (const one of status?.conditions ?? []) {
    one.lastUpdateTime ??= time;
    const before = old.status?.conditions?.find(({ type, status: said }) => type === one.type && said === one.status);
    one.lastTransitionTime ??= before?.lastTransitionTime ?? time;
  }
}

/** Approval and denial are said once, through their own subresource, and never taken back. */
function validateConditions(
  { status }: CertificateSigningRequest,
  { status: before }: CertificateSigningRequest,
  part: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const [now, old] = [status?.conditions ?? [], before?.conditions ?? []];
  for (const type of ['Approved', 'Denied']) {
    const [mine, was] = [now.find((one) => one.type === type), old.find((one) => one.type === type)];
    if (was !== undefined && mine === undefined)
      errors.push(forbidden('status.conditions', `updates may not remove a condition of type "${type}"`));
    else if (part !== 'approval' && was === undefined && mine !== undefined)
      errors.push(forbidden('status.conditions', `updates may not add a condition of type "${type}"`));
    else if (part !== 'approval' && !isDeepStrictEqual(was, mine))
      errors.push(forbidden('status.conditions', `updates may not modify a condition of type "${type}"`));
    if (mine !== undefined && mine.status !== 'True')
      errors.push(notSupported(`status.conditions[${now.indexOf(mine)}].status`, mine.status, ['True']));
  }
  const denied = now.findIndex((one) => one.type === 'Denied');
  if (denied >= 0 && now.some((one) => one.type === 'Approved'))
    errors.push(
      invalid(`status.conditions[${denied}].type`, 'Denied', 'Approved and Denied conditions are mutually exclusive'),
    );
  if (part === 'approval' && status?.certificate !== before?.certificate)
    errors.push(forbidden('status.certificate', 'updates may not set certificate content'));
  return errors;
}

function conditionText({ status }: CertificateSigningRequest): string {
  const has = (type: string) => status?.conditions?.some((one) => one.type === type) === true;
  const words = [has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending'];
  if (has('Failed')) words.push('Failed');
  if (status?.certificate) words.push('Issued');
  return words.join(',');
}
