/** From what a client sent to an object that may be written: decoded, defaulted, validated. */
import { customResourceDefinitions } from '../kinds/resources.ts';
import { decodeObject, missingFields } from '../kinds/decode.ts';
import type { FieldError } from '../kinds/field-error.ts';
import { forbidden, invalid, notSupported, required, tooLong } from '../kinds/field-errors.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { validateMetadata, validateMetadataUpdate } from '../kinds/metadata.ts';
import { definitions, OBJECT_META, type Schema, schemaOf } from '../kinds/schema.ts';
import { prune } from '../kinds/structural.ts';
import { badRequest, invalidObject } from './errors.ts';
import { type Exchange, header, type User } from './exchange.ts';
import { APPLY_PATCH, mediaType } from './read-body.ts';
import { apiVersionOf } from './registry.ts';

export interface WriteOptions {
  dryRun: boolean;
  fieldValidation: 'Ignore' | 'Warn' | 'Strict';
  fieldManager: string;
  warn: (text: string) => void;
  /** Said of the body when it was read; a strict client is refused for them. */
  doubts?: string[];
  /** Who asked; the server itself where it is absent. */
  user?: User;
  /** Noted in the audit log. */
  annotate?: (key: string, value: string) => void;
}

const VALIDATIONS = ['Ignore', 'Strict', 'Warn'];
const MANAGER_LIMIT = 128;
/** Of what is said of one body. */
const TEXTS_LIMIT = 32;

/** Throws 422 that names the options, as upstream's. */
export function readWriteOptions(
  exchange: Exchange,
  kind: 'CreateOptions' | 'UpdateOptions' | 'PatchOptions' | 'DeleteOptions',
): WriteOptions {
  const { query, user, warnings } = exchange;
  const errors: FieldError[] = [];
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  if (dryRun.some((value) => value !== 'All')) errors.push(notSupported('dryRun', dryRun, ['All']));
  const fieldValidation = query.get('fieldValidation') || 'Warn';
  if (!VALIDATIONS.includes(fieldValidation))
    errors.push(notSupported('fieldValidation', fieldValidation, VALIDATIONS));
  const named = query.get('fieldManager') ?? '';
  if (named.length > MANAGER_LIMIT) errors.push(tooLong('fieldManager', MANAGER_LIMIT));
  if (/\p{Cc}/u.test(named)) errors.push(invalid('fieldManager', named, 'should only contain printable characters'));
  if (kind === 'PatchOptions') errors.push(...patchOptionErrors(exchange, named));
  if (errors.length > 0) throw invalidObject({ group: 'meta.k8s.io', kind }, '', errors);
  const agent = header(exchange, 'user-agent').split('/')[0] ?? '';
  return {
    dryRun: dryRun.length > 0,
    fieldValidation: fieldValidation as WriteOptions['fieldValidation'],
    fieldManager: named || agent.slice(0, MANAGER_LIMIT) || 'unknown',
    warn: (text) => warnings.push(text),
    doubts: [],
    user,
    annotate: (key, value) => (exchange.annotations ??= new Map()).set(key, value),
  };
}

function patchOptionErrors(exchange: Exchange, manager: string): FieldError[] {
  if (mediaType(exchange) === APPLY_PATCH)
    return manager === '' ? [required('fieldManager', 'is required for apply patch')] : [];
  return exchange.query.has('force') ? [forbidden('force', 'may not be specified for non-apply patch')] : [];
}

/** In place. Throws 400 for a wrong kind, a wrong type of a built-in field, or under `Strict` for unknown fields. */
export function decode(kind: KindDefinition, sent: Record<string, unknown>, options: WriteOptions): ApiObject {
  const { object, unknown } = typed(kind, sent, true);
  const unknowns = unknown.map((field) => `unknown field "${field}"`);
  // What is typed is read in one pass, a custom object is looked at when it was read.
  const doubts = options.doubts ?? [];
  const all = kind.schema === undefined ? [...unknowns, ...doubts] : [...doubts, ...unknowns];
  const texts = all.slice(0, TEXTS_LIMIT);
  if (texts.length === 0 || options.fieldValidation === 'Ignore') return object;
  if (options.fieldValidation === 'Strict') {
    const strict = `strict decoding error: ${texts.join(', ')}`;
    throw badRequest(kind.schema === undefined ? `${subjectOf(kind)}: ${strict}` : strict);
  }
  for (const text of texts) options.warn(text);
  return object;
}

/** An applied configuration. Nobody can own a field that its kind does not have, so it is refused whatever the options say. */
export function decodeApplied(
  kind: KindDefinition,
  sent: Record<string, unknown>,
  { doubts = [], fieldValidation, warn }: WriteOptions,
): ApiObject {
  if (doubts.length > 0 && fieldValidation === 'Strict')
    throw badRequest(`error strict decoding YAML: ${doubts.slice(0, TEXTS_LIMIT).join(', ')}`);
  if (fieldValidation === 'Warn') for (const text of doubts.slice(0, TEXTS_LIMIT)) warn(text);
  // Who applies what says nothing owns that nonetheless.
  const { object, unknown } = typed(kind, sent, false);
  if (unknown.length === 0) return object;
  const { namespace = '', name = '' } = object.metadata;
  const texts = unknown.slice(0, TEXTS_LIMIT).map((field) => `.${field}: field not declared in schema`);
  const list = texts.length === 1 ? texts[0] : `errors:\n  ${texts.join('\n  ')}`;
  throw badRequest(
    `failed to create typed patch object (${namespace}/${name}; ${kind.group}/${kind.version}, Kind=${kind.kind}): ${list}`,
  );
}

/** What was applied is kept as a typed server keeps it: without what says nothing, whoever owns that. */
export function withoutEmpty(kind: KindDefinition, object: ApiObject): ApiObject {
  if (kind.schema === undefined) decodeObject(object, schemaOf(kind) ?? {}, { dropsEmpty: true });
  return object;
}

function subjectOf({ kind, version }: KindDefinition): string {
  return `${kind} in version "${version}" cannot be handled as a ${kind}`;
}

/** The object, and the fields that were taken from it because the kind does not have them. */
function typed(
  kind: KindDefinition,
  sent: Record<string, unknown>,
  dropsEmpty: boolean,
): { object: ApiObject; unknown: string[] } {
  const apiVersion = apiVersionOf(kind);
  if (sent['apiVersion'] !== undefined && sent['apiVersion'] !== '' && sent['apiVersion'] !== apiVersion)
    throw badRequest(
      `the API version in the data (${String(sent['apiVersion'])}) does not match the expected API version (${apiVersion})`,
    );
  if (sent['kind'] !== undefined && sent['kind'] !== '' && sent['kind'] !== kind.kind)
    throw badRequest(`the kind in the data (${String(sent['kind'])}) does not match the expected kind (${kind.kind})`);
  const { apiVersion: _version, kind: _kind, metadata, ...rest } = sent;
  const object = { apiVersion, kind: kind.kind, metadata: metadata ?? {}, ...rest } as ApiObject;
  if (kind.schema === undefined) {
    const { unknown, wrongTypes } = decodeObject(object, schemaOf(kind) ?? {}, { dropsEmpty });
    if (wrongTypes.length > 0) throw badRequest(`${subjectOf(kind)}: ${wrongTypes.join('; ')}`);
    return { object, unknown };
  }
  const meta = object.metadata as Record<string, unknown>;
  const found = decodeObject(meta, definitions()[OBJECT_META] ?? {}, { dropsEmpty });
  if (found.wrongTypes.length > 0)
    throw badRequest(`${subjectOf(kind)}: metadata.${found.wrongTypes.join('; metadata.')}`);
  const unknown = [...found.unknown.map((field) => `metadata.${field}`), ...prune(object, kind.schema as Schema)];
  return { object, unknown };
}

/** Tells whoever asked what is odd about an object that is valid. */
export function warn(kind: KindDefinition, options: WriteOptions, object: ApiObject, old?: ApiObject): void {
  for (const text of kind.warnings?.(object, old) ?? []) options.warn(text);
}

/** Throws 422. */
export function validate(kind: KindDefinition, object: ApiObject, old?: ApiObject, further: FieldError[] = []): void {
  const errors: FieldError[] = [];
  // The schema of a definition requires much inside of its schemas that is data, not fields.
  if (kind.schema === undefined && kind.resource !== customResourceDefinitions.resource)
    errors.push(...missingFields(object, schemaOf(kind) ?? {}).map((field) => required(field)));
  if (errors.length === 0) {
    errors.push(...validateMetadata(kind, object.metadata), ...(kind.validate?.(object) ?? []));
    if (old === undefined) errors.push(...(kind.validateCreate?.(object) ?? []));
    else errors.push(...validateMetadataUpdate(object, old), ...(kind.validateUpdate?.(object, old) ?? []));
  }
  errors.push(...further);
  if (errors.length > 0) throw invalidObject(kind, object.metadata.name ?? '', errors);
}
