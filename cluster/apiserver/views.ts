/** Objects as Table rows and as bare metadata. */
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { toShownForm } from './stored-form.ts';

export interface TableOptions {
  apiVersion: string;
  includeObject: 'None' | 'Metadata' | 'Object';
}

interface Row {
  cells: (string | number | boolean | null)[];
  object?: unknown;
}

/** Columns are read from an object as it is kept. */
export function tableRow(kind: KindDefinition, object: ApiObject, options: TableOptions, now: number): Row {
  const cells = kind.columns.map((column) => column.value(object, now));
  if (options.includeObject === 'None') return { cells };
  return {
    cells,
    object:
      options.includeObject === 'Object' ? toShownForm(kind, object) : partialMetadata(object, options.apiVersion),
  };
}

export function table(kind: KindDefinition, rows: Row[], metadata: object, apiVersion: string, head = true): object {
  return {
    kind: 'Table',
    apiVersion,
    metadata,
    columnDefinitions: head
      ? kind.columns.map(({ name, type, format, description, priority }) => ({
          name,
          type,
          format: format ?? '',
          description,
          priority,
        }))
      : null,
    rows,
  };
}

export function partialMetadata(object: ApiObject, apiVersion: string): object {
  return { kind: 'PartialObjectMetadata', apiVersion, metadata: object.metadata };
}
