/** A CustomResourceDefinition's versions as kinds: from here on the server knows no difference. */
import { ageColumn, age, nameColumn } from './columns.ts';
import { validateRules } from './custom-rules.ts';
import type { FieldError } from './field-error.ts';
import { parseJsonPath } from './json-path.ts';
import type { ApiObject, KindDefinition, PrinterColumn, ScalePaths } from './kind.ts';
import { STANDARD_FINALIZERS } from './metadata.ts';
import type { Schema } from './schema.ts';
import { fillDefaults, validateStructure } from './structural.ts';
import { compareVersions } from './version-order.ts';
import type {
  CustomResourceColumnDefinition,
  CustomResourceDefinition,
  CustomResourceDefinitionVersion,
  CustomResourceSubresourceScale,
} from './types/apiextensions.ts';

export interface CustomKind extends KindDefinition {
  schema: Record<string, unknown>;
  /** Are its objects stored in this version? */
  storage: boolean;
  /** Nobody asks for one that is not, but objects may be stored in it. */
  served: boolean;
}

/** One for each served version, the storage version first, served or not. */
export function customKinds(definition: CustomResourceDefinition): CustomKind[] {
  const { conversion, group, names, scope, versions } = definition.spec;
  return versions
    .filter((version) => version.served || version.storage)
    .sort((a, b) => Number(b.storage) - Number(a.storage))
    .map((version) => {
      const schema = (version.schema?.openAPIV3Schema ?? { type: 'object' }) as Schema;
      const scale = version.subresources?.scale;
      return {
        group,
        version: version.name,
        resource: names.plural,
        kind: names.kind,
        namespaced: scope === 'Namespaced',
        listKind: names.listKind ?? `${names.kind}List`,
        singular: names.singular ?? names.kind.toLowerCase(),
        shortNames: names.shortNames ?? [],
        categories: names.categories ?? [],
        schema: schema as Record<string, unknown>,
        storage: version.storage,
        served: version.served,
        ...(version.deprecated === true ? { deprecation: deprecationOf(definition, version) } : {}),
        mixedVersions: (definition.status?.storedVersions ?? []).length > 1,
        ...(conversion?.webhook === undefined ? {} : { conversion: conversion.webhook }),
        subresources: {
          status: version.subresources?.status !== undefined,
          ...(scale === undefined ? {} : { scale: scalePaths(scale) }),
        },
        columns: [nameColumn, ...(version.additionalPrinterColumns?.map(customColumn) ?? [ageColumn])],
        selectableFields: Object.fromEntries(
          (version.selectableFields ?? []).map(({ jsonPath }) => [jsonPath.replace(/^\./, ''), textAt(jsonPath)]),
        ),
        nameRule: 'dns-subdomain' as const,
        generation: true,
        needsRevision: true,
        defaults: (object: ApiObject) => fillDefaults(object, schema),
        prepareForCreate: (object: ApiObject) => {
          if (version.subresources?.status !== undefined) delete object['status'];
        },
        validateCreate: (object: ApiObject): FieldError[] => problems(object, undefined, schema),
        validateUpdate: (object: ApiObject, old: ApiObject): FieldError[] => problems(object, old, schema),
        warnings: finalizerWarnings,
      };
    });
}

/** Of those that came with this write: others may use a short name too. */
function finalizerWarnings({ metadata }: ApiObject, old?: ApiObject): string[] {
  const before = new Set(old?.metadata.finalizers);
  return [...new Set(metadata.finalizers)]
    .filter((one) => !before.has(one) && !one.includes('/') && !STANDARD_FINALIZERS.has(one))
    .sort()
    .map(
      (one) =>
        `metadata.finalizers: ${JSON.stringify(one)}: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers`,
    );
}

/** With the version to go to, where there is a better one. */
function deprecationOf(
  { spec }: CustomResourceDefinition,
  { name, deprecationWarning }: CustomResourceDefinitionVersion,
): string {
  const { group, names, versions } = spec;
  const text = `${group}/${name} ${names.kind} is deprecated`;
  const [better] = versions
    .filter((other) => other.served && other.deprecated !== true && compareVersions(other.name, name) < 0)
    .map((other) => other.name)
    .sort(compareVersions);
  return deprecationWarning ?? (better === undefined ? text : `${text}; use ${group}/${better} ${names.kind}`);
}

/** Rules take the right structure for granted. */
function problems(object: ApiObject, old: ApiObject | undefined, schema: Schema): FieldError[] {
  const wrong = structureProblems(object, old, schema);
  return wrong.length > 0 ? wrong : validateRules(object, old, schema);
}

function structureProblems(object: ApiObject, old: ApiObject | undefined, schema: Schema): FieldError[] {
  const wrong = validateStructure(object, schema);
  // What is right as it is costs no comparing.
  if (wrong.length === 0 || old === undefined) return wrong;
  const left = validateStructure(object, schema, { path: '', old });
  // Items that are there twice are let stay as long as any are.
  const twice = ({ reason }: FieldError): boolean => reason === 'FieldValueDuplicate';
  return left.some(twice) && validateStructure(old, schema).some(twice) ? left.filter((one) => !twice(one)) : left;
}

function textAt(path: string): (object: ApiObject) => string {
  const read = parseJsonPath(path);
  return (object) => {
    const value = read?.(object)[0];
    return value === undefined || value === null ? '' : String(value);
  };
}

function scalePaths(scale: CustomResourceSubresourceScale): ScalePaths {
  return {
    specReplicas: scale.specReplicasPath,
    statusReplicas: scale.statusReplicasPath,
    selector: scale.labelSelectorPath === undefined ? () => '' : textAt(scale.labelSelectorPath),
  };
}

function customColumn(definition: CustomResourceColumnDefinition): PrinterColumn {
  const read = parseJsonPath(definition.jsonPath);
  return {
    name: definition.name,
    type: definition.type as PrinterColumn['type'],
    ...(definition.format === undefined ? {} : { format: definition.format }),
    description: definition.description ?? `Custom resource definition column: ${definition.jsonPath}`,
    priority: definition.priority ?? 0,
    value: (object, now) => {
      const found = read?.(object) ?? [];
      const value = found[0];
      if (value === undefined || value === null) return null;
      if (definition.type === 'date') return age(String(value), now);
      if (found.length > 1) return found.map(cellText).join(',');
      if (typeof value === 'object') return JSON.stringify(value);
      if (definition.type === 'integer' || definition.type === 'number') return Number(value);
      return definition.type === 'boolean' ? value === true : String(value);
    },
  };
}

function cellText(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
