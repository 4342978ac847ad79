/** Which objects of a kind a list or watch shows. */
import type { KindDefinition } from '../kinds/kind.ts';
import {
  type FieldRequirement,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
  type Requirement,
  SelectorError,
} from '../kinds/selector.ts';
import type { CachedObject } from './cache.ts';
import { badRequest } from './errors.ts';

export interface Selection {
  namespace: string;
  /** Nothing is left out, but by namespace. */
  all: boolean;
  fields: FieldRequirement[];
  matches: (object: CachedObject) => boolean;
}

export function readSelection(
  kind: KindDefinition,
  namespace: string,
  name: string,
  query: URLSearchParams,
): Selection {
  try {
    const labels: Requirement[] = parseLabelSelector(query.get('labelSelector') ?? '');
    const fields = parseFieldSelector(query.get('fieldSelector') ?? '');
    for (const field of fields) {
      const { path } = field;
      if (path === 'metadata.name' || path === 'metadata.namespace') continue;
      const known = kind.stored?.fields ?? kind.selectableFields;
      if (!Object.hasOwn(known, path)) throw badRequest(`field label not supported: ${path}`);
      if (kind.stored !== undefined) field.path = kind.stored.fields?.[path] ?? path;
    }
    if (name !== '') fields.push({ path: 'metadata.name', equals: true, value: name });
    return {
      namespace,
      all: labels.length === 0 && fields.length === 0,
      fields,
      matches: (object) =>
        (namespace === '' || object.namespace === namespace) &&
        matchesLabels(labels, object.labels) &&
        matchesFields(fields, object.fields),
    };
  } catch (error) {
    throw error instanceof SelectorError ? badRequest(error.message) : error;
  }
}
