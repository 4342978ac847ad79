/** What holds for the metadata of every kind (Kubernetes API conventions, "Metadata"). */
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import type { ApiObject, KindDefinition } from './kind.ts';
import { nameProblem, qualifiedNameProblem, validateLabels } from './names.ts';
import type { ObjectMeta, OwnerReference } from './types/meta.ts';

const ANNOTATIONS_LIMIT = 256 * 1024;

export function validateMetadata(kind: KindDefinition, metadata: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  if (metadata.name === undefined || metadata.name === '') {
    errors.push(required('metadata.name', 'name or generateName is required'));
  } else {
    const problem = nameProblem(kind.nameRule, metadata.name);
    if (problem !== undefined) errors.push(invalid('metadata.name', metadata.name, problem));
  }
  errors.push(...validateLabels(metadata.labels, 'metadata.labels'));
  errors.push(...validateAnnotations(metadata.annotations));
  for (const [index, finalizer] of (metadata.finalizers ?? []).entries()) {
    const problem = qualifiedNameProblem(finalizer);
    if (problem !== undefined) errors.push(invalid(`metadata.finalizers[${index}]`, finalizer, problem));
  }
  errors.push(...validateOwners(metadata.ownerReferences));
  return errors;
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

function validateAnnotations(annotations: Record<string, string> | undefined): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    const problem = qualifiedNameProblem(key.toLowerCase());
    if (problem !== undefined) errors.push(invalid('metadata.annotations', key, problem));
    size += key.length + value.length;
  }
  if (size > ANNOTATIONS_LIMIT)
    errors.push({
      reason: 'FieldValueTooLong',
      field: 'metadata.annotations',
      message: `Too long: must have at most ${ANNOTATIONS_LIMIT} bytes`,
    });
  return errors;
}

function validateOwners(owners: OwnerReference[] | undefined): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, owner] of (owners ?? []).entries()) {
    const field = `metadata.ownerReferences[${index}]`;
    for (const key of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (!owner[key]) errors.push(required(`${field}.${key}`, 'must not be empty'));
    }
  }
  const controllers = (owners ?? []).filter((owner) => owner.controller === true);
  if (controllers.length > 1)
    errors.push(
      invalid(
        'metadata.ownerReferences',
        controllers.map((owner) => `${owner.kind}/${owner.name}`),
        'Only one reference can have Controller set to true',
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
