/** What is written of what was sent: only the part that this write may change, and never what the server holds. */
import { isDeepStrictEqual } from 'node:util';
import { cloneJson } from '#lib/clone-json.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';

/** The main resource, or the subresource that is written. */
export type Part = '' | 'status' | 'approval' | 'finalize' | 'ephemeralcontainers';

export interface PartOptions {
  part: Part;
  /** A node says how its pods are, not what is written on them. */
  byNode: boolean;
  /** Now, as the API writes it. */
  time: string;
}

export function writtenPart(
  kind: KindDefinition,
  wanted: ApiObject,
  old: ApiObject,
  { part, byNode, time }: PartOptions,
): ApiObject {
  switch (part) {
    case '':
      return main(kind, wanted, old);
    case 'status': {
      const now = status(kind, byNode ? { ...wanted, metadata: managedOf(wanted, old) } : wanted, old);
      kind.prepareStatus?.(now, old, time);
      return now;
    }
    case 'approval': {
      const conditions = (wanted['status'] as { conditions?: unknown[] } | undefined)?.conditions;
      const now = withMetadata(kind, wanted, old);
      now['status'] = { ...(old['status'] as object | undefined), ...(conditions === undefined ? {} : { conditions }) };
      kind.prepareStatus?.(now, old, time);
      return now;
    }
    case 'finalize': {
      const now = cloneJson(old);
      now['spec'] = wanted['spec'] ?? {};
      return now;
    }
    case 'ephemeralcontainers': {
      const now = withMetadata(kind, wanted, old);
      const { spec } = now as Pod;
      const containers = (wanted as Pod).spec?.ephemeralContainers;
      if (spec !== undefined && containers !== undefined) spec.ephemeralContainers = cloneJson(containers);
      kind.defaults?.(now);
      if (kind.generation && !isDeepStrictEqual(spec, (old as Pod).spec)) countGeneration(now, old);
      return now;
    }
  }
}

/** The old metadata, with who manages what as it is sent. */
function managedOf(wanted: ApiObject, old: ApiObject): ApiObject['metadata'] {
  const { managedFields } = wanted.metadata;
  return managedFields === undefined ? old.metadata : { ...old.metadata, managedFields };
}

function status(kind: KindDefinition, wanted: ApiObject, old: ApiObject): ApiObject {
  const now = withMetadata(kind, wanted, old);
  if (wanted['status'] === undefined) delete now['status'];
  else now['status'] = wanted['status'];
  return now;
}

/** A status carries labels and annotations with it, but for custom resources. */
function withMetadata(kind: KindDefinition, wanted: ApiObject, old: ApiObject): ApiObject {
  const now = cloneJson(old);
  if (wanted.metadata.managedFields !== undefined) now.metadata.managedFields = wanted.metadata.managedFields;
  if (kind.schema !== undefined) return now;
  for (const field of ['labels', 'annotations', 'finalizers'] as const) {
    const value = wanted.metadata[field];
    if (value === undefined) delete now.metadata[field];
    else Object.assign(now.metadata, { [field]: value });
  }
  return now;
}

function main(kind: KindDefinition, wanted: ApiObject, old: ApiObject): ApiObject {
  const now = wanted;
  const { metadata } = now;
  metadata.name ||= old.metadata.name ?? '';
  if (kind.namespaced && old.metadata.namespace !== undefined) metadata.namespace ||= old.metadata.namespace;
  if (!kind.namespaced) delete metadata.namespace;
  keep(metadata, old.metadata, [
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generation',
    'generateName',
  ]);
  delete metadata.selfLink;
  if (metadata.managedFields === undefined && old.metadata.managedFields !== undefined)
    metadata.managedFields = old.metadata.managedFields;
  if (kind.subresources.status) {
    if (old['status'] === undefined) delete now['status'];
    else now['status'] = cloneJson(old['status']);
  }
  kind.defaults?.(now);
  kind.prepareForUpdate?.(now, cloneJson(old));
  settleGeneration(kind, now, old);
  return now;
}

/** Counts, once, what is wished for otherwise than before. */
export function settleGeneration(kind: KindDefinition, now: ApiObject, old: ApiObject): void {
  if (kind.generation && !isDeepStrictEqual(desired(now), desired(old))) countGeneration(now, old);
}

function countGeneration(now: ApiObject, old: ApiObject): void {
  now.metadata.generation = (old.metadata.generation ?? 0) + 1;
}

function keep<T extends object>(now: T, old: T, fields: (keyof T)[]): void {
  for (const field of fields) {
    if (old[field] === undefined) delete now[field];
    else now[field] = old[field];
  }
}

function desired(object: ApiObject): object {
  const { metadata: _metadata, status: _status, ...rest } = object;
  return rest;
}
