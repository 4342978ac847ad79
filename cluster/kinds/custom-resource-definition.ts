import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { dns1035Problem, dnsSubdomainProblem } from './names.ts';
import { customResourceDefinitions } from './resources.ts';
import { regularExpression } from './structural.ts';
import type { CustomResourceDefinition } from './types/apiextensions.ts';

const SCOPES = ['Cluster', 'Namespaced'];
const APPROVED = 'api-approved.kubernetes.io';
/** Holds a definition until its objects are gone. */
export const CUSTOM_RESOURCE_CLEANUP = 'customresourcecleanup.apiextensions.k8s.io';

export const customResourceDefinitionKind = defineKind(customResourceDefinitions, {
  schemaName: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition',
  needsRevision: true,
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  subresources: { status: true },
  generation: true,
  columns: [nameColumn, column('Created At', 'date', (object) => object.metadata.creationTimestamp ?? '')],
  defaults: (object) => {
    const { spec } = object as unknown as CustomResourceDefinition;
    if (spec?.names === undefined) return;
    spec.names.singular ||= (spec.names.kind ?? '').toLowerCase();
    spec.names.listKind ||= `${spec.names.kind}List`;
    spec.conversion ??= { strategy: 'None' };
  },
  prepareForCreate: (object) => {
    const definition = object as unknown as CustomResourceDefinition;
    definition.metadata.finalizers = [...new Set([...(definition.metadata.finalizers ?? []), CUSTOM_RESOURCE_CLEANUP])];
    setStatus(definition, []);
  },
  prepareForUpdate: (object, old) => {
    const definition = object as unknown as CustomResourceDefinition;
    setStatus(definition, (old as unknown as CustomResourceDefinition).status?.storedVersions ?? []);
  },
  validate: (object) => validateDefinition(object as unknown as CustomResourceDefinition),
  validateUpdate: (object, old) => {
    const [now, before] = [
      (object as unknown as CustomResourceDefinition).spec,
      (old as unknown as CustomResourceDefinition).spec,
    ];
    const errors: FieldError[] = [];
    if (now.group !== before.group) errors.push(invalid('spec.group', now.group, 'field is immutable'));
    if (now.scope !== before.scope) errors.push(invalid('spec.scope', now.scope, 'field is immutable'));
    for (const field of ['plural', 'kind'] as const)
      if (now.names[field] !== before.names[field])
        errors.push(invalid(`spec.names.${field}`, now.names[field], 'field is immutable'));
    return errors;
  },
});

/** Patterns of the schema that are no regular expressions. */
function badPatterns(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  return Object.entries(schema).flatMap(([key, value]) => {
    if (key !== 'pattern' || typeof value !== 'string') return badPatterns(value);
    return regularExpression(value) === undefined ? [value] : [];
  });
}

/** The server serves a definition as soon as it has it: it is established with the write itself. */
function setStatus(definition: CustomResourceDefinition, storedBefore: string[]): void {
  const { names, versions } = definition.spec ?? {};
  if (names === undefined || !Array.isArray(versions)) return;
  const storage = versions.find((version) => version.storage)?.name ?? '';
  const since = definition.metadata.creationTimestamp ?? new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const terminating = definition.status?.conditions?.filter((condition) => condition.type === 'Terminating') ?? [];
  definition.status = {
    acceptedNames: structuredClone(names),
    conditions: [
      {
        type: 'NamesAccepted',
        status: 'True',
        reason: 'NoConflicts',
        message: 'no conflicts found',
        lastTransitionTime: since,
      },
      {
        type: 'Established',
        status: 'True',
        reason: 'InitialNamesAccepted',
        message: 'the initial names have been accepted',
        lastTransitionTime: since,
      },
      ...terminating,
    ],
    storedVersions: [...new Set([...storedBefore, storage])],
  };
}

function validateDefinition({ metadata, spec }: CustomResourceDefinition): FieldError[] {
  if (spec === undefined) return [required('spec')];
  const errors: FieldError[] = [];
  const { names, versions } = spec;
  if (!spec.group) errors.push(required('spec.group'));
  else if (dnsSubdomainProblem(spec.group) !== undefined || !spec.group.includes('.'))
    errors.push(invalid('spec.group', spec.group, 'should be a domain with at least one dot'));
  else if (/(^|\.)(k8s|kubernetes)\.io$/.test(spec.group) && !metadata.annotations?.[APPROVED])
    errors.push(required(`metadata.annotations[${APPROVED}]`, 'protected groups must have approval annotation'));
  if (!SCOPES.includes(spec.scope)) errors.push(notSupported('spec.scope', spec.scope, SCOPES));
  for (const field of ['plural', 'kind', 'singular', 'listKind'] as const) {
    const value = names?.[field];
    if (!value) errors.push(required(`spec.names.${field}`));
    else {
      const problem = dns1035Problem(value.toLowerCase());
      if (problem !== undefined) errors.push(invalid(`spec.names.${field}`, value, problem));
    }
  }
  if (names?.plural && metadata.name !== `${names.plural}.${spec.group}`)
    errors.push(invalid('metadata.name', metadata.name, 'must be spec.names.plural+"."+spec.group'));
  if (!Array.isArray(versions) || versions.length === 0) return [...errors, required('spec.versions')];
  const seen = new Set<string>();
  for (const [index, version] of versions.entries()) {
    const at = `spec.versions[${index}]`;
    const problem = dns1035Problem(version.name ?? '');
    if (problem !== undefined) errors.push(invalid(`${at}.name`, version.name, problem));
    if (seen.has(version.name)) errors.push(invalid(`${at}.name`, version.name, 'must be unique'));
    seen.add(version.name);
    if (version.schema?.openAPIV3Schema === undefined)
      errors.push(required(`${at}.schema.openAPIV3Schema`, 'schemas are required'));
    else {
      for (const pattern of badPatterns(version.schema.openAPIV3Schema))
        errors.push(invalid(`${at}.schema.openAPIV3Schema`, pattern, 'must be a regular expression'));
    }
    if (version.schema?.openAPIV3Schema !== undefined && version.schema.openAPIV3Schema.type !== 'object')
      errors.push(
        invalid(
          `${at}.schema.openAPIV3Schema.type`,
          version.schema.openAPIV3Schema.type ?? '',
          'must be object at the root',
        ),
      );
  }
  if (versions.filter((version) => version.storage).length !== 1)
    errors.push(
      invalid(
        'spec.versions',
        versions.map((version) => version.name),
        'must have exactly one version marked as storage version',
      ),
    );
  if (spec.preserveUnknownFields === true)
    errors.push(
      invalid(
        'spec.preserveUnknownFields',
        true,
        'must be false; use x-kubernetes-preserve-unknown-fields in the schema',
      ),
    );
  if (spec.conversion !== undefined && spec.conversion.strategy !== 'None')
    errors.push(forbidden('spec.conversion.strategy', 'only None is supported'));
  return errors;
}
