/**
 * Says in the status of a ValidatingAdmissionPolicy which fields its expressions name that its objects do not have (Kubernetes "Type
 * checking"), when its spec has changed. Only of kinds that its rules name: not of those behind a `*`.
 */
import { orUndefined } from '../client/api-errors.ts';
import type { Client, Informer } from '../client/client.ts';
import { builtinKinds } from '../kinds/builtin.ts';
import { type CheckedType, typeWarnings } from '../kinds/policy-warnings.ts';
import { customResourceDefinitions, validatingAdmissionPolicies } from '../kinds/resources.ts';
import { type Schema, schemaOf } from '../kinds/schema.ts';
import type { RuleWithOperations, ValidatingAdmissionPolicy } from '../kinds/types/admissionregistration.ts';
import type { Controller } from './controller.ts';
import { openInformer } from './objects.ts';

/** As upstream. */
const MOST_TYPES = 10;

export function createPolicyTypeChecking(): Controller {
  let policies: Informer<ValidatingAdmissionPolicy>;
  return {
    name: 'validatingadmissionpolicy-status',
    async start(context, enqueue) {
      policies = openInformer(context, validatingAdmissionPolicies);
      policies.onChange((now) => {
        if (now !== undefined) enqueue(now.metadata.name);
      });
      await policies.synced;
    },
    keys: () => policies.list().map(({ metadata }) => metadata.name),
    async reconcile(name, { client }) {
      const policy = policies.get(name);
      if (policy === undefined || policy.status?.observedGeneration === policy.metadata.generation) return;
      const types = await typesOf(client, policy.spec?.matchConstraints?.resourceRules ?? []);
      const warnings = typeWarnings(policy.spec ?? {}, types);
      const typeChecking = { expressionWarnings: warnings.length === 0 ? null : warnings };
      const body = { status: { observedGeneration: policy.metadata.generation, typeChecking } };
      const patch = { type: 'merge' as const, body };
      await orUndefined(client.patch(validatingAdmissionPolicies, name, patch, { subresource: 'status' }), 404);
    },
  };
}

interface Place {
  group: string;
  version: string;
  resource: string;
}

async function typesOf(client: Client, rules: readonly RuleWithOperations[]): Promise<CheckedType[]> {
  const found = new Map<string, CheckedType>();
  for (const place of rules.flatMap(placesOf)) {
    if (found.size === MOST_TYPES) break;
    const type = builtinType(place) ?? (await customType(client, place));
    if (type !== undefined) found.set(type.title, type);
  }
  return [...found.values()];
}

function placesOf({ apiGroups = [], apiVersions = [], resources = [] }: RuleWithOperations): Place[] {
  if ([...apiGroups, ...apiVersions, ...resources].some((one) => one.includes('*'))) return [];
  return apiGroups.flatMap((group) =>
    apiVersions.flatMap((version) =>
      resources.flatMap((resource) => (resource.includes('/') ? [] : [{ group, version, resource }])),
    ),
  );
}

function builtinType({ group, version, resource }: Place): CheckedType | undefined {
  const kind = builtinKinds.find((one) => one.group === group && one.version === version && one.resource === resource);
  const schema = kind && schemaOf(kind);
  return kind && schema && { title: titleOf(group, version, kind.kind), schema };
}

async function customType(client: Client, { group, version, resource }: Place): Promise<CheckedType | undefined> {
  if (group === '') return undefined;
  const definition = await orUndefined(client.get(customResourceDefinitions, `${resource}.${group}`), 404);
  const schema = definition?.spec.versions.find(({ name }) => name === version)?.schema?.openAPIV3Schema;
  if (definition === undefined || schema === undefined) return undefined;
  return { title: titleOf(group, version, definition.spec.names.kind), schema: schema as Schema };
}

function titleOf(group: string, version: string, kind: string): string {
  return `${group}/${version}, Kind=${kind}`;
}
