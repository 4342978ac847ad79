/**
 * What `sampan up` was told of the router's certificates. Checked when it is said; kept in `<data>/router-flags.json` (mode 0600, as it may hold
 * the key of an account), with the contents of the files that were named, so that the platform needs none of them.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { AcmeSettings } from '#platform/certificates/certificates.ts';
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
}

export interface RouterSettings {
  acme?: AcmeSettings;
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
  const merged: RouterSettings = { ...(acme === undefined ? {} : { acme }) };
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
