import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required, tooLong } from './field-errors.ts';
import { validateDataKeys } from './names.ts';
import { secrets } from './resources.ts';
import { tlsSecretWarnings } from './tls-secret-warnings.ts';
import type { Secret } from './types/core.ts';

const DATA_LIMIT = 1024 * 1024;
/** What each well-known type must have. */
const REQUIRED_KEYS: Record<string, string[]> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

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
    let size = 0;
    for (const [key, value] of Object.entries(secret.data ?? {})) {
      size += value.length * 0.75;
      if (value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
        errors.push(
          invalid(`data[${key}]`, '<omitted>', 'must be base64 (RFC 4648 section 4); use stringData for plain text'),
        );
    }
    if (size > DATA_LIMIT) errors.push(tooLong('data', DATA_LIMIT));
    for (const key of REQUIRED_KEYS[secret.type ?? ''] ?? []) {
      if (secret.data?.[key] === undefined) errors.push(required(`data[${key}]`));
    }
    return errors;
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
