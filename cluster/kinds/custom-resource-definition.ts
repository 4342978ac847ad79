import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { parseJsonPath } from './json-path.ts';
import { dns1035Problem, dnsSubdomainProblem } from './names.ts';
import { customResourceDefinitions } from './resources.ts';
import { check, dns1035Label, present } from './rules.ts';
import type { Schema } from './schema.ts';
import { schemaProblems } from './structural-schema.ts';
import { clientProblems } from './webhook-client.ts';
import type {
  CustomResourceConversion,
  CustomResourceDefinition,
  CustomResourceDefinitionVersion,
} from './types/apiextensions.ts';

const SCOPES = ['Cluster', 'Namespaced'];
const APPROVED = 'api-approved.kubernetes.io';
const CONFORMANT = 'KubernetesAPIApprovalPolicyConformant';
const STRATEGIES = ['None', 'Webhook'];
const WARNING_LIMIT = 256;
const COLUMN_FORMATS = ['byte', 'date', 'date-time', 'double', 'float', 'int32', 'int64', 'password'];
const COLUMN_TYPES = ['boolean', 'date', 'integer', 'number', 'string'];
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
    const service = spec.conversion.webhook?.clientConfig?.service;
    if (service !== undefined) service.port ??= 443;
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
    const versions = new Set(now.versions.map(({ name }) => name));
    for (const [index, name] of (
      (object as unknown as CustomResourceDefinition).status?.storedVersions ?? []
    ).entries())
      if (!versions.has(name))
        errors.push(invalid(`status.storedVersions[${index}]`, name, 'must appear in spec.versions'));
    return errors;
  },
});

/** The server serves a definition as soon as it has it: it is established with the write itself. */
function setStatus(definition: CustomResourceDefinition, storedBefore: string[]): void {
  const { names, versions } = definition.spec ?? {};
  if (names === undefined || !Array.isArray(versions)) return;
  const storage = versions.find((version) => version.storage)?.name ?? '';
  const since = definition.metadata.creationTimestamp ?? new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const terminating = definition.status?.conditions?.filter((condition) => condition.type === 'Terminating') ?? [];
  const condition = (type: string, status: string, reason: string, message: string) => ({
    type,
    status,
    reason,
    message,
    lastTransitionTime: since,
  });
  const approved = definition.metadata.annotations?.[APPROVED] ?? '';
  definition.status = {
    acceptedNames: structuredClone(names),
    conditions: [
      ...(isProtected(definition.spec.group)
        ? [
            URL.canParse(approved)
              ? condition(CONFORMANT, 'True', 'ApprovedAnnotation', `approved in ${approved}`)
              : condition(CONFORMANT, 'False', 'UnapprovedAnnotation', `not approved: ${JSON.stringify(approved)}`),
          ]
        : []),
      condition('NamesAccepted', 'True', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'True', 'InitialNamesAccepted', 'the initial names have been accepted'),
      ...terminating,
    ],
    storedVersions: [...new Set([...storedBefore, storage])],
  };
}

function isProtected(group: string | undefined): boolean {
  return /(^|\.)(k8s|kubernetes)\.io$/.test(group ?? '');
}

function validateDefinition({ metadata, spec }: CustomResourceDefinition): FieldError[] {
  if (spec === undefined) return [required('spec')];
  const errors: FieldError[] = [];
  const { names, versions } = spec;
  if (!spec.group) errors.push(required('spec.group'));
  else if (dnsSubdomainProblem(spec.group) !== undefined || !spec.group.includes('.'))
    errors.push(invalid('spec.group', spec.group, 'should be a domain with at least one dot'));
  else if (isProtected(spec.group)) errors.push(...approvalProblems(metadata.annotations?.[APPROVED]));
  if (!SCOPES.includes(spec.scope)) errors.push(notSupported('spec.scope', spec.scope, SCOPES));
  for (const field of ['plural', 'kind', 'singular', 'listKind'] as const) {
    const value = names?.[field];
    if (!value) errors.push(required(`spec.names.${field}`));
    else {
      // The plural is in paths, and the singular is typed as it: those two have no capitals.
      const problem = dns1035Problem(field === 'kind' || field === 'listKind' ? value.toLowerCase() : value);
      if (problem !== undefined) errors.push(invalid(`spec.names.${field}`, value, problem));
    }
  }
  errors.push(
    ...check(
      spec,
      { 'names.shortNames[*]': [present(), dns1035Label], 'names.categories[*]': [present(), dns1035Label] },
      'spec',
    ),
  );
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
    else errors.push(...schemaProblems(version.schema.openAPIV3Schema as Schema, `${at}.schema.openAPIV3Schema`));
    errors.push(...partProblems(version, at));
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
  if (spec.conversion !== undefined) errors.push(...conversionProblems(spec.conversion, 'spec.conversion'));
  return errors;
}

function approvalProblems(annotation: string | undefined): FieldError[] {
  const at = `metadata.annotations[${APPROVED}]`;
  const policy = 'see https://github.com/kubernetes/enhancements/pull/1111';
  if (!annotation) return [required(at, `protected groups must have approval annotation "${APPROVED}", ${policy}`)];
  if (annotation.startsWith('unapproved') || URL.canParse(annotation)) return [];
  return [
    invalid(
      at,
      annotation,
      `protected groups must have approval annotation "${APPROVED}" with either a URL or a reason starting with "unapproved", ${policy}`,
    ),
  ];
}

/** Of columns and scale paths. */
function partProblems(
  { additionalPrinterColumns, subresources, deprecated, deprecationWarning }: CustomResourceDefinitionVersion,
  at: string,
): FieldError[] {
  const errors: FieldError[] = [];
  if (deprecationWarning !== undefined && deprecated !== true)
    errors.push(invalid(`${at}.deprecationWarning`, deprecationWarning, 'can only be set for deprecated versions'));
  else if (deprecationWarning === '')
    errors.push(invalid(`${at}.deprecationWarning`, deprecationWarning, 'must not be an empty string'));
  else if ((deprecationWarning ?? '').length > WARNING_LIMIT)
    errors.push(invalid(`${at}.deprecationWarning`, deprecationWarning, `must be <= ${WARNING_LIMIT} UTF-8 bytes`));
  for (const [index, column] of (additionalPrinterColumns ?? []).entries()) {
    const where = `${at}.additionalPrinterColumns[${index}]`;
    if (!column.name) errors.push(required(`${where}.name`));
    if (!COLUMN_TYPES.includes(column.type)) errors.push(notSupported(`${where}.type`, column.type, COLUMN_TYPES));
    if (column.format && !COLUMN_FORMATS.includes(column.format))
      errors.push(invalid(`${where}.format`, column.format, `must be one of ${COLUMN_FORMATS.join(',')}`));
    if (!column.jsonPath) errors.push(required(`${where}.jsonPath`));
    else if (!column.jsonPath.startsWith('.') || parseJsonPath(column.jsonPath) === undefined)
      errors.push(invalid(`${where}.jsonPath`, column.jsonPath, 'must be a simple json path starting with .'));
  }
  const { scale } = subresources ?? {};
  if (scale === undefined) return errors;
  for (const [field, part] of [
    ['specReplicasPath', 'spec'],
    ['statusReplicasPath', 'status'],
  ] as const) {
    const path = scale[field];
    if (!path) errors.push(required(`${at}.subresources.scale.${field}`));
    else if (!path.startsWith(`.${part}.`) || !/^(\.[A-Za-z0-9_-]+)+$/.test(path))
      errors.push(invalid(`${at}.subresources.scale.${field}`, path, `should be a json path under .${part}`));
  }
  const { labelSelectorPath: selector } = scale;
  if (selector !== undefined && !/^\.(spec|status)(\.[A-Za-z0-9_-]+)+$/.test(selector))
    errors.push(
      invalid(
        `${at}.subresources.scale.labelSelectorPath`,
        selector,
        'should be a json path under either .spec or .status',
      ),
    );
  return errors;
}

function conversionProblems({ strategy, webhook }: CustomResourceConversion, at: string): FieldError[] {
  if (!STRATEGIES.includes(strategy)) return [notSupported(`${at}.strategy`, strategy, STRATEGIES)];
  if (strategy === 'None')
    return webhook === undefined
      ? []
      : [forbidden(`${at}.webhook`, 'should not be set when strategy is not set to Webhook')];
  if (webhook === undefined) return [required(`${at}.webhook`, 'required when strategy is set to Webhook')];
  const errors: FieldError[] = [];
  if (webhook.clientConfig === undefined)
    errors.push(required(`${at}.webhook.clientConfig`, 'required when strategy is set to Webhook'));
  else errors.push(...clientProblems(webhook.clientConfig, `${at}.webhook.clientConfig`));
  const versions = webhook.conversionReviewVersions ?? [];
  if (!versions.includes('v1'))
    errors.push(invalid(`${at}.webhook.conversionReviewVersions`, versions, 'must include at least one of v1'));
  return errors;
}
