/**
 * What `sampan up` was told of the router's certificates, and of its clients'. Checked when it is said; kept in `<data>/router-flags.json` (mode 0600, as it may hold
 * the key of an account), with the contents of the files that were named, so that the platform needs none of them.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCiphers } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import type { AcmeSettings } from '#platform/certificates/certificates.ts';
import type { RouterTls } from '#platform/router/model.ts';
import type { ApiChange } from './api-flags.ts';
import { wrongFlag } from './commands/engine-flags.ts';

/** An empty text takes one back, and that of `acme` takes all of it back. */
export interface RouterFlags {
  /** Address of the directory, or a name of `SERVERS`. */
  acme?: string;
  acmeAgreeTerms?: boolean;
  acmeEmail?: string;
  acmeCaBundle?: string;
  acmeEabKeyId?: string;
  acmeEabHmacKeyFile?: string;
  /** A file of authorities. */
  clientCa?: string;
  /** As gorouter's: `none`, `request` or `require`. */
  clientCertValidation?: string;
  forwardedClientCert?: string;
  /** `1.2` or `1.3`. */
  tlsMinVersion?: string;
  /** OpenSSL's names, with colons or commas between. */
  tlsCiphers?: string;
  /** `verify` or `any`: whether the certificates of route services must be right. */
  routeServiceTls?: string;
}

export interface RouterSettings {
  acme?: AcmeSettings;
  tls?: RouterTls;
  /** Absent: certificates of route services are verified. */
  serviceTls?: { verify: false };
}

const SERVERS: Readonly<Record<string, string>> = {
  letsencrypt: 'https://acme-v02.api.letsencrypt.org/directory',
  'letsencrypt-staging': 'https://acme-staging-v02.api.letsencrypt.org/directory',
};

const fileOf = (dataDirectory: string): string => join(dataDirectory, 'router-flags.json');

export function keptRouter(dataDirectory: string): RouterSettings {
  const file = fileOf(dataDirectory);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as RouterSettings) : {};
}

/** What changes by these flags. @throws HostError `invalid-flag` */
export function routerChanges(dataDirectory: string, flags: RouterFlags): ApiChange[] {
  const kept = keptRouter(dataDirectory);
  const acme = mergedAcme(kept.acme, flags);
  const tls = mergedTls(kept.tls, flags);
  const said = oneOf('--route-service-tls', flags.routeServiceTls, kept.serviceTls ? 'any' : 'verify', SERVICE_TLS);
  const merged: RouterSettings = {
    ...(acme === undefined ? {} : { acme }),
    ...(tls === undefined ? {} : { tls }),
    ...(said === 'any' ? { serviceTls: { verify: false } } : {}),
  };
  if (isDeepStrictEqual(merged, kept)) return [];
  return [{ path: fileOf(dataDirectory), content: `${JSON.stringify(merged, null, 2)}\n` }];
}

function mergedAcme(kept: AcmeSettings | undefined, flags: RouterFlags): AcmeSettings | undefined {
  if (flags.acme === '') return undefined;
  const directory = flags.acme === undefined ? kept?.directory : (SERVERS[flags.acme] ?? flags.acme);
  if (directory === undefined) {
    const alone = Object.entries(flags).find(([name, value]) => name.startsWith('acme') && value !== undefined);
    if (alone !== undefined)
      throw wrongFlag(
        '--acme',
        '',
        'there is no server to which the other flags belong',
        'a directory, or letsencrypt',
      );
    return undefined;
  }
  if (URL.parse(directory)?.protocol !== 'https:')
    throw wrongFlag(
      '--acme',
      directory,
      'it is no https URL',
      `a directory, or one of ${Object.keys(SERVERS).join(', ')}`,
    );
  if (directory !== kept?.directory && flags.acmeAgreeTerms !== true)
    throw wrongFlag(
      '--acme',
      directory,
      'nobody has agreed to its terms of service (its directory names them in meta.termsOfService)',
      '--acme-agree-terms too, once you have read them and do',
    );
  const email = flags.acmeEmail ?? kept?.email ?? '';
  if (email !== '' && !/^[^\s@,?]+@[^\s@,?]+$/.test(email))
    throw wrongFlag('--acme-email', email, 'it is no address of mail', 'one such as ops@example.com');
  const authorities =
    flags.acmeCaBundle === undefined ? kept?.authorities : bundle('--acme-ca-bundle', flags.acmeCaBundle);
  const binding = bindingOf(kept?.binding, flags);
  return {
    directory,
    ...(email === '' ? {} : { email }),
    ...(authorities === undefined ? {} : { authorities }),
    ...(binding === undefined ? {} : { binding }),
  };
}

const DEFAULT_TLS: RouterTls = { minimum: '1.2', forwarded: 'sanitize_set' };

/** Undefined where nothing is other than by default. */
function mergedTls(kept: RouterTls = DEFAULT_TLS, flags: RouterFlags): RouterTls | undefined {
  const clients = clientsOf(kept.clients, flags);
  const ciphers = flags.tlsCiphers === undefined ? kept.ciphers : ciphersOf(flags.tlsCiphers);
  const merged: RouterTls = {
    minimum: oneOf('--tls-min-version', flags.tlsMinVersion, kept.minimum, ['1.2', '1.3']),
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(clients === undefined ? {} : { clients }),
    forwarded: oneOf('--forwarded-client-cert', flags.forwardedClientCert, kept.forwarded, FORWARDED),
  };
  return isDeepStrictEqual(merged, DEFAULT_TLS) ? undefined : merged;
}

const SERVICE_TLS = ['verify', 'any'] as const;
const FORWARDED = ['sanitize_set', 'forward', 'always_forward'] as const;

/** An empty text is the first, which is the default. */
function oneOf<Value extends string>(
  flag: string,
  given: string | undefined,
  kept: Value,
  all: readonly [Value, ...Value[]],
): Value {
  if (given === undefined) return kept;
  if (given === '') return all[0];
  const found = all.find((value) => value === given);
  if (found === undefined) throw wrongFlag(flag, given, 'it is not known', `one of ${all.join(', ')}`);
  return found;
}

function clientsOf(kept: RouterTls['clients'], flags: RouterFlags): RouterTls['clients'] {
  const flag = '--client-cert-validation';
  const said = oneOf(flag, flags.clientCertValidation, kept?.required ? 'require' : 'request', VALIDATIONS);
  const authorities = flags.clientCa === undefined ? kept?.authorities : bundle('--client-ca', flags.clientCa);
  if (authorities !== undefined) return said === 'none' ? undefined : { authorities, required: said === 'require' };
  if (said === 'require' && flags.clientCertValidation !== undefined)
    throw wrongFlag(flag, said, 'nobody is named whose certificates count', '--client-ca too');
  return undefined;
}

const VALIDATIONS = ['request', 'none', 'require'] as const;

function ciphersOf(text: string): string[] | undefined {
  const names = text.split(/[:,]/).filter((name) => name !== '');
  const known = new Set(getCiphers());
  const unknown = names.find((name) => !/^[A-Z0-9_-]+$/.test(name) || !known.has(name.toLowerCase()));
  if (unknown !== undefined)
    throw wrongFlag(
      '--tls-ciphers',
      unknown,
      'OpenSSL does not know it',
      'names such as ECDHE-ECDSA-AES128-GCM-SHA256',
    );
  return names.length === 0 ? undefined : names;
}

function bindingOf(
  kept: AcmeSettings['binding'],
  { acmeEabKeyId, acmeEabHmacKeyFile }: RouterFlags,
): AcmeSettings['binding'] {
  if (acmeEabKeyId === '') return undefined;
  const keyId = acmeEabKeyId ?? kept?.keyId;
  const file = acmeEabHmacKeyFile ?? '';
  const hmacKey = file === '' ? kept?.hmacKey : fileText('--acme-eab-hmac-key-file', file, 'a key in base64url').trim();
  if (keyId === undefined && hmacKey === undefined) return undefined;
  if (keyId === undefined || hmacKey === undefined)
    throw wrongFlag('--acme-eab-key-id', keyId ?? '', 'it goes with --acme-eab-hmac-key-file', 'both');
  if (!/^[A-Za-z0-9_-]{16,}=*$/.test(hmacKey))
    throw wrongFlag('--acme-eab-hmac-key-file', file, 'it holds no key in base64url', 'what the server gave you');
  return { keyId, hmacKey };
}

/** PEM; undefined for an empty name, which takes it back. */
function bundle(flag: string, file: string): string | undefined {
  if (file === '') return undefined;
  const text = fileText(flag, file, 'certificates in PEM');
  try {
    new X509Certificate(text);
  } catch {
    throw wrongFlag(flag, file, 'it holds no certificate', 'certificates in PEM');
  }
  return text;
}

function fileText(flag: string, file: string, wanted: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw wrongFlag(flag, file, (error as Error).message, wanted);
  }
}
