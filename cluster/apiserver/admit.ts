/** From what a client sent to an object that may be written: decoded, defaulted, validated. */
import { customResourceDefinitions } from '../kinds/resources.ts';
import { decodeObject, missingFields } from '../kinds/decode.ts';
import type { FieldError } from '../kinds/field-error.ts';
import { required } from '../kinds/field-errors.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { validateMetadata, validateMetadataUpdate } from '../kinds/metadata.ts';
import { definitions, OBJECT_META, type Schema, schemaOf } from '../kinds/schema.ts';
import { prune } from '../kinds/structural.ts';
import { badRequest, invalidObject } from './errors.ts';
import type { User } from './exchange.ts';
import { apiVersionOf } from './registry.ts';

export interface WriteOptions {
  dryRun: boolean;
  fieldValidation: 'Ignore' | 'Warn' | 'Strict';
  fieldManager: string;
  warn: (text: string) => void;
  /** Who asked; the server itself where it is absent. */
  user?: User;
}

export function readWriteOptions(query: URLSearchParams, userAgent: string, warnings: string[]): WriteOptions {
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  if (dryRun.some((value) => value !== 'All'))
    throw badRequest(`dryRun: Unsupported value: "${dryRun[0]}": supported values: "All"`);
  const fieldValidation = query.get('fieldValidation') || 'Warn';
  if (fieldValidation !== 'Ignore' && fieldValidation !== 'Warn' && fieldValidation !== 'Strict')
    throw badRequest(
      `fieldValidation: Unsupported value: "${fieldValidation}": supported values: "Ignore", "Strict", "Warn"`,
    );
  const fieldManager = query.get('fieldManager') || (userAgent.split('/')[0] ?? '') || 'unknown';
  if (fieldManager.length > 128) throw badRequest('fieldManager: Too long: must have at most 128 bytes');
  return { dryRun: dryRun.length > 0, fieldValidation, fieldManager, warn: (text) => warnings.push(text) };
}

/** In place. Throws 400 for a wrong kind, a wrong type of a built-in field, or under `Strict` for unknown fields. */
export function decode(kind: KindDefinition, sent: Record<string, unknown>, options: WriteOptions): ApiObject {
  const apiVersion = apiVersionOf(kind);
  if (sent['apiVersion'] !== undefined && sent['apiVersion'] !== '' && sent['apiVersion'] !== apiVersion)
    throw badRequest(
      `the API version in the data (${String(sent['apiVersion'])}) does not match the expected API version (${apiVersion})`,
    );
  if (sent['kind'] !== undefined && sent['kind'] !== '' && sent['kind'] !== kind.kind)
    throw badRequest(`the kind in the data (${String(sent['kind'])}) does not match the expected kind (${kind.kind})`);
  const { apiVersion: _version, kind: _kind, metadata, ...rest } = sent;
  const object = { apiVersion, kind: kind.kind, metadata: metadata ?? {}, ...rest } as ApiObject;
  const subject = `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}`;
  let unknown: string[];
  if (kind.schema === undefined) {
    const found = decodeObject(object, schemaOf(kind) ?? {});
    if (found.wrongTypes.length > 0) throw badRequest(`${subject}: ${found.wrongTypes.join('; ')}`);
    unknown = found.unknown;
  } else {
    const found = decodeObject(object.metadata as Record<string, unknown>, definitions()[OBJECT_META] ?? {});
    if (found.wrongTypes.length > 0) throw badRequest(`${subject}: metadata.${found.wrongTypes.join('; metadata.')}`);
    unknown = [...found.unknown.map((field) => `metadata.${field}`), ...prune(object, kind.schema as Schema)];
  }
  if (unknown.length > 0) {
    const texts = unknown.slice(0, 32).map((field) => `unknown field "${field}"`);
    if (options.fieldValidation === 'Strict') {
      const strict = `strict decoding error: ${texts.join(', ')}`;
      throw badRequest(kind.schema === undefined ? `${subject}: ${strict}` : strict);
    }
    if (options.fieldValidation === 'Warn') for (const text of texts) options.warn(text);
  }
  return object;
}

/** Throws 422. */
export function validate(kind: KindDefinition, object: ApiObject, old?: ApiObject, further: FieldError[] = []): void {
  const errors: FieldError[] = [];
  // The schema of a definition requires much inside of its schemas that is data, not fields.
  if (kind.schema === undefined && kind.resource !== customResourceDefinitions.resource)
    errors.push(...missingFields(object, schemaOf(kind) ?? {}).map((field) => required(field)));
  if (errors.length === 0) {
    errors.push(...validateMetadata(kind, object.metadata), ...(kind.validate?.(object) ?? []));
    if (old !== undefined)
      errors.push(...validateMetadataUpdate(object, old), ...(kind.validateUpdate?.(object, old) ?? []));
  }
  errors.push(...further);
  if (errors.length > 0) throw invalidObject(kind, object.metadata.name ?? '', errors);
}
