/**
 * What `sampan up` and `sampan cluster` were told of the Kubernetes API: who may come by OpenID Connect, and what is audited. Checked when it is
 * said; kept in `<data>/cluster`, with the contents of the files that were named, so that the server needs none of them.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readAuditPolicy } from '#cluster/apiserver/audit/policy.ts';
import type { OidcOptions } from '#cluster/apiserver/authenticators/oidc.ts';
import { HostError } from './host-error.ts';

/** Named as kube-apiserver's. An empty text takes one back, and that of the issuer takes all of OpenID Connect back. */
export interface ApiFlags {
  oidcIssuerUrl?: string;
  oidcClientId?: string;
  oidcUsernameClaim?: string;
  oidcUsernamePrefix?: string;
  oidcGroupsClaim?: string;
  oidcGroupsPrefix?: string;
  /** `CLAIM=VALUE` */
  oidcRequiredClaim?: string[];
  oidcCaFile?: string;
  /** With commas between. */
  oidcSigningAlgs?: string;
  auditPolicyFile?: string;
}

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512'];

const oidcFile = (dataDirectory: string): string => join(dataDirectory, 'cluster', 'oidc.json');
export const auditPolicyFile = (dataDirectory: string): string => join(dataDirectory, 'cluster', 'audit-policy.yaml');

export function keptOidc(dataDirectory: string): OidcOptions | undefined {
  const file = oidcFile(dataDirectory);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as OidcOptions) : undefined;
}

/** A file of the data directory, and what it is to hold; undefined: it goes. */
export interface ApiChange {
  path: string;
  content: string | undefined;
}

/** What changes by these flags. @throws HostError `invalid-flag` */
export async function apiChanges(dataDirectory: string, flags: ApiFlags): Promise<ApiChange[]> {
  const changes: ApiChange[] = [];
  const kept = keptOidc(dataDirectory);
  const oidc = mergedOidc(kept, flags);
  if (!isDeepStrictEqual(oidc, kept))
    changes.push({ path: oidcFile(dataDirectory), content: oidc && `${JSON.stringify(oidc, null, 2)}\n` });
  const { auditPolicyFile: named } = flags;
  if (named === undefined) return changes;
  const path = auditPolicyFile(dataDirectory);
  const content = named === '' ? undefined : await auditPolicy(named);
  const before = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (content !== before) changes.push({ path, content });
  return changes;
}

async function auditPolicy(file: string): Promise<string> {
  const text = fileText('--audit-policy-file', file, 'a policy of audit.k8s.io/v1 in YAML');
  try {
    await readAuditPolicy(file);
  } catch (error) {
    throw wrong('--audit-policy-file', file, (error as Error).message, 'a policy of audit.k8s.io/v1 in YAML', error);
  }
  return text;
}

function mergedOidc(kept: OidcOptions | undefined, flags: ApiFlags): OidcOptions | undefined {
  if (flags.oidcIssuerUrl === '') return undefined;
  const given = Object.entries(flags).filter(([flag, value]) => flag.startsWith('oidc') && value !== undefined);
  if (given.length === 0) return kept;
  const issuer = flags.oidcIssuerUrl ?? kept?.issuer;
  if (issuer === undefined || URL.parse(issuer)?.protocol !== 'https:')
    throw wrong(
      '--oidc-issuer-url',
      issuer ?? '',
      'it is no https URL',
      'what its tokens have as iss, such as https://login.example.com',
    );
  const clientId = flags.oidcClientId ?? kept?.clientId ?? '';
  if (clientId === '') throw wrong('--oidc-client-id', clientId, 'it is empty', 'what the tokens have as aud');
  const merged: Partial<OidcOptions> = {
    ...kept,
    issuer,
    clientId,
    ...field('usernameClaim', flags.oidcUsernameClaim),
    ...field('usernamePrefix', flags.oidcUsernamePrefix),
    ...field('groupsClaim', flags.oidcGroupsClaim),
    ...field('groupsPrefix', flags.oidcGroupsPrefix),
    ...field('requiredClaims', flags.oidcRequiredClaim && claims(flags.oidcRequiredClaim)),
    ...field('ca', flags.oidcCaFile === undefined ? undefined : authorities(flags.oidcCaFile)),
    ...field('algorithms', flags.oidcSigningAlgs === undefined ? undefined : algorithms(flags.oidcSigningAlgs)),
  };
  const isSet = (value: unknown): boolean =>
    value !== '' && value !== undefined && Object.keys(Object(value)).length > 0;
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => isSet(value))) as unknown as OidcOptions;
}

function field<Name extends keyof OidcOptions>(name: Name, value: OidcOptions[Name]): Partial<OidcOptions> {
  return value === undefined ? {} : { [name]: value };
}

function claims(words: string[]): Record<string, string> {
  return Object.fromEntries(
    words
      .filter((word) => word !== '')
      .map((word) => {
        const at = word.indexOf('=');
        if (at < 1) throw wrong('--oidc-required-claim', word, 'it is no CLAIM=VALUE', 'one such as department=it');
        return [word.slice(0, at), word.slice(at + 1)];
      }),
  );
}

function algorithms(text: string): string[] {
  const found = text.split(',').filter((one) => one !== '');
  const unknown = found.find((one) => !ALGORITHMS.includes(one));
  if (unknown !== undefined)
    throw wrong('--oidc-signing-algs', unknown, 'it is not known', `some of ${ALGORITHMS.join(', ')}`);
  return found;
}

function authorities(file: string): string {
  if (file === '') return '';
  const text = fileText('--oidc-ca-file', file, 'a certificate in PEM');
  try {
    new X509Certificate(text);
  } catch (cause) {
    throw wrong('--oidc-ca-file', file, 'it holds no certificate', 'a certificate in PEM', cause);
  }
  return text;
}

function fileText(flag: string, file: string, wanted: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw wrong(flag, file, (cause as Error).message, wanted, cause);
  }
}

function wrong(flag: string, value: string, why: string, wanted: string, cause?: unknown): HostError {
  return new HostError('invalid-flag', `Cannot use ${JSON.stringify(value)} as ${flag}: ${why}.`, `Give ${wanted}.`, {
    cause,
  });
}
