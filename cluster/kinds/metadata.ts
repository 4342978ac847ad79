/** What holds for the metadata of every kind (Kubernetes API conventions, "Metadata"). */
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required, tooLong } from './field-errors.ts';
import type { ApiObject, KindDefinition } from './kind.ts';
import { nameProblems, qualifiedNameProblems, validateLabels } from './names.ts';
import type { ObjectMeta, OwnerReference } from './types/meta.ts';

const ANNOTATIONS_LIMIT = 256 * 1024;
/** Kubernetes' own, which need no domain. */
export const STANDARD_FINALIZERS: ReadonlySet<string> = new Set(['foregroundDeletion', 'orphan', 'kubernetes']);

export function validateMetadata(kind: KindDefinition, metadata: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  if (metadata.name === undefined || metadata.name === '') {
    errors.push(required('metadata.name', 'name or generateName is required'));
  } else
    for (const problem of nameProblems(kind.nameRule, metadata.name))
      errors.push(invalid('metadata.name', metadata.name, problem));
  errors.push(...validateBase(kind, metadata.generateName));
  errors.push(...validateLabels(metadata.labels, 'metadata.labels'));
  errors.push(...validateAnnotations(metadata.annotations, 'metadata.annotations'));
  for (const [index, finalizer] of (metadata.finalizers ?? []).entries()) {
    for (const problem of qualifiedNameProblems(finalizer))
      errors.push(invalid('metadata.finalizers', finalizer, problem));
    if (needsDomain(kind) && !finalizer.includes('/') && !STANDARD_FINALIZERS.has(finalizer))
      errors.push(
        invalid(
          `metadata.finalizers[${index}]`,
          finalizer,
          'name is neither a standard finalizer name nor is it fully qualified',
        ),
      );
  }
  errors.push(...validateOwners(metadata.ownerReferences));
  return errors;
}

/** Kinds of servers that extend the API are freer; of custom objects a warning says so. */
function needsDomain({ schema, group }: KindDefinition): boolean {
  return schema === undefined && group !== 'apiextensions.k8s.io' && group !== 'apiregistration.k8s.io';
}

/** What generated names begin with; it may end with a dash, as no name does. */
function validateBase(kind: KindDefinition, base: string | undefined): FieldError[] {
  if (!base) return [];
  const begun = base.length > 1 && base.endsWith('-') ? `${base.slice(0, -1)}a` : base;
  return nameProblems(kind.nameRule, begun).map((problem) => invalid('metadata.generateName', base, problem));
}

/** What no update may change. `now` still carries what the client sent. */
export function validateMetadataUpdate(now: ApiObject, old: ApiObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['name', 'namespace', 'uid', 'creationTimestamp'] as const) {
    if (now.metadata[field] !== old.metadata[field])
      errors.push(invalid(`metadata.${field}`, now.metadata[field], 'field is immutable'));
  }
  if (old.metadata.deletionTimestamp !== undefined) {
    const before = new Set(old.metadata.finalizers);
    const added = (now.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
    if (added.length > 0) {
      const list = added.map((one) => JSON.stringify(one)).join(', ');
      errors.push(
        forbidden(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
        ),
      );
    }
  }
  return errors;
}

export function validateAnnotations(annotations: Record<string, string> | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    for (const problem of qualifiedNameProblems(key.toLowerCase())) errors.push(invalid(field, key, problem));
    size += key.length + value.length;
  }
  if (size > ANNOTATIONS_LIMIT) errors.push(tooLong(field, ANNOTATIONS_LIMIT));
  return errors;
}

function validateOwners(owners: OwnerReference[] | undefined): FieldError[] {
  const field = 'metadata.ownerReferences';
  const errors: FieldError[] = [];
  for (const owner of owners ?? []) {
    const version = /^(?:[^/]*\/)?([^/]+)$/.exec(owner.apiVersion ?? '')?.[1];
    const words = { apiVersion: version, kind: owner.kind, name: owner.name, uid: owner.uid };
    for (const [key, word] of Object.entries(words))
      if (!word) {
        const what = key === 'apiVersion' ? 'version' : key;
        errors.push(invalid(`${field}.${key}`, owner[key as keyof typeof words] ?? '', `${what} must not be empty`));
      }
    if (owner.kind === 'Event' && owner.apiVersion === 'v1')
      errors.push(invalid(field, owner, '/v1, Kind=Event is disallowed from being an owner'));
  }
  const [first, ...others] = (owners ?? []).filter((owner) => owner.controller === true);
  for (const other of others)
    errors.push(
      invalid(
        field,
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${first?.kind}/${first?.name} and ${other.kind}/${other.name}`,
      ),
    );
  return errors;
}

/** For `prepareStatus`: of these a write of the status changes nothing, which upstream holds differently for each kind. */
export function keepsMetadata(
  ...fields: readonly ('labels' | 'annotations' | 'finalizers')[]
): (object: ApiObject, old: ApiObject) => void {
  return ({ metadata }, old) => {
    for (const field of fields) {
      const value = old.metadata[field];
      if (value === undefined) delete metadata[field];
      else Object.assign(metadata, { [field]: value });
    }
  };
}
