/** Makes a kind's definition from what is special about it. */
import { ageColumn, nameColumn } from './columns.ts';
import type { KindDefinition, ResourceRef } from './kind.ts';

type Special = Partial<KindDefinition> & { schemaName: string };

export function defineKind(ref: ResourceRef, special: Special): KindDefinition {
  return {
    ...ref,
    listKind: `${ref.kind}List`,
    singular: ref.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    subresources: { status: false },
    columns: [nameColumn, ageColumn],
    selectableFields: {},
    nameRule: 'dns-subdomain',
    generation: false,
    ...special,
  };
}
