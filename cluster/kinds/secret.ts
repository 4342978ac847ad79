import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required, tooLong } from './field-errors.ts';
import { validateDataKeys } from './names.ts';
import { secrets } from './resources.ts';
import { tlsSecretWarnings } from './tls-secret-warnings.ts';
import type { Secret } from './types/core.ts';

const DATA_LIMIT = 1024 * 1024;
const ACCOUNT = 'kubernetes.io/service-account.name';
/** What each well-known type must have. */
const REQUIRED_KEYS: Record<string, string[]> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

/** Of types that ask for more than that a key is there. */
function typeErrors({ metadata, type, data }: Secret): FieldError[] {
  if (type === 'kubernetes.io/ssh-auth')
    return data?.['ssh-privatekey'] === '' ? [required('data[ssh-privatekey]')] : [];
  if (type === 'kubernetes.io/basic-auth')
    return data?.['username'] === undefined && data?.['password'] === undefined
      ? [required('data[username]'), required('data[password]')]
      : [];
  if (type !== 'kubernetes.io/service-account-token' || metadata.annotations?.[ACCOUNT]) return [];
  return [required(`metadata.annotations[${ACCOUNT}]`)];
}

function jsonErrors(base64 = '', field: string): FieldError[] {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString());
    return [];
  } catch (error) {
    return [invalid(field, '<secret contents redacted>', error instanceof Error ? withoutText(error.message) : '')];
  }
}

/** What a parser says, without what it read. */
function withoutText(message: string): string {
  return message.replace(/[,:]? ?["'`].*/s, '');
}

export const secretKind = defineKind(secrets, {
  schemaName: 'io.k8s.api.core.v1.Secret',
  columns: [
    nameColumn,
    column<Secret>('Type', 'string', (secret) => secret.type ?? ''),
    column<Secret>('Data', 'integer', (secret) => Object.keys(secret.data ?? {}).length),
    ageColumn,
  ],
  selectableFields: { type: (object) => (object as Secret).type ?? '' },
  defaults: (object) => {
    const secret = object as Secret;
    secret.type ||= 'Opaque';
    if (secret.stringData === undefined) return;
    secret.data ??= {};
    for (const [key, value] of Object.entries(secret.stringData))
      secret.data[key] = Buffer.from(value).toString('base64');
    delete secret.stringData;
  },
  validate: (object) => {
    const secret = object as Secret;
    const errors: FieldError[] = validateDataKeys(secret.data, 'data');
    const size = Object.values(secret.data ?? {}).reduce((sum, { length }) => sum + length * 0.75, 0);
    if (size > DATA_LIMIT) errors.push(tooLong('data', DATA_LIMIT));
    for (const key of REQUIRED_KEYS[secret.type ?? ''] ?? []) {
      if (secret.data?.[key] === undefined) errors.push(required(`data[${key}]`));
      else if (key.startsWith('.docker')) errors.push(...jsonErrors(secret.data[key], `data[${key}]`));
    }
    return [...errors, ...typeErrors(secret)];
  },
  warnings: (object) => tlsSecretWarnings(object as Secret),
  validateUpdate: (object, old) => {
    const [now, before] = [object as Secret, old as Secret];
    const errors: FieldError[] = [];
    if (now.type !== before.type) errors.push(invalid('type', now.type, 'field is immutable'));
    if (before.immutable === true) {
      const text = 'field is immutable when `immutable` is set';
      if (now.immutable !== true) errors.push(forbidden('immutable', text));
      if (JSON.stringify(now.data ?? {}) !== JSON.stringify(before.data ?? {})) errors.push(forbidden('data', text));
    }
    return errors;
  },
});
