import { conditionProblems, REQUEST_VARIABLES, ruleProblems } from './admission-rules.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, invalid, required } from './field-errors.ts';
import type { ApiObject, KindDefinition, ResourceRef } from './kind.ts';
import { dnsSubdomainProblem } from './names.ts';
import { mutatingWebhookConfigurations, validatingWebhookConfigurations } from './resources.ts';
import { check, oneOf, setDefaults } from './rules.ts';
import { labelSelectorProblems } from './selector.ts';
import { clientProblems } from './webhook-client.ts';
import type { MutatingWebhook, MutatingWebhookConfiguration } from './types/admissionregistration.ts';

export const VERSIONS = ['v1', 'v1beta1'];

export const mutatingWebhookConfigurationKind = configurationKind(mutatingWebhookConfigurations, {
  'webhooks[*].reinvocationPolicy': 'Never',
});
export const validatingWebhookConfigurationKind = configurationKind(validatingWebhookConfigurations, {});

function configurationKind(ref: ResourceRef, further: Record<string, unknown>): KindDefinition {
  return defineKind(ref, {
    schemaName: `io.k8s.api.admissionregistration.v1.${ref.kind}`,
    categories: ['api-extensions'],
    generation: true,
    columns: [
      nameColumn,
      column<MutatingWebhookConfiguration>('Webhooks', 'integer', ({ webhooks }) => webhooks?.length ?? 0),
      ageColumn,
    ],
    defaults: (object) =>
      setDefaults(object, {
        'webhooks[*].failurePolicy': 'Fail',
        'webhooks[*].matchPolicy': 'Equivalent',
        'webhooks[*].namespaceSelector': {},
        'webhooks[*].objectSelector': {},
        'webhooks[*].timeoutSeconds': 10,
        'webhooks[*].rules[*].scope': '*',
        'webhooks[*].clientConfig.service.port': 443,
        ...further,
      }),
    validate: configurationProblems,
  });
}

function configurationProblems(object: ApiObject): FieldError[] {
  const errors: FieldError[] = check(object, {
    'webhooks[*].failurePolicy': oneOf('Fail', 'Ignore'),
    'webhooks[*].matchPolicy': oneOf('Equivalent', 'Exact'),
    'webhooks[*].sideEffects': oneOf('None', 'NoneOnDryRun'),
    'webhooks[*].reinvocationPolicy': oneOf('IfNeeded', 'Never'),
  });
  const names = new Set<string>();
  for (const [index, webhook] of ((object as MutatingWebhookConfiguration).webhooks ?? []).entries()) {
    const at = `webhooks[${index}]`;
    if (names.has(webhook.name)) errors.push(duplicate(`${at}.name`, webhook.name));
    names.add(webhook.name);
    errors.push(...webhookProblems(webhook, at));
  }
  return errors;
}

function webhookProblems(webhook: MutatingWebhook, at: string): FieldError[] {
  const errors: FieldError[] = [];
  const { name, admissionReviewVersions: versions, timeoutSeconds = 10 } = webhook;
  const problem = dnsSubdomainProblem(name);
  if (problem !== undefined) errors.push(invalid(`${at}.name`, name, problem));
  else if (name.split('.').length < 3)
    errors.push(invalid(`${at}.name`, name, 'should be a domain with at least three segments separated by dots'));
  if (versions.length === 0)
    errors.push(required(`${at}.admissionReviewVersions`, `must specify one of ${VERSIONS.join(', ')}`));
  else if (!versions.some((version) => VERSIONS.includes(version)))
    errors.push(
      invalid(`${at}.admissionReviewVersions`, versions, `must include at least one of ${VERSIONS.join(', ')}`),
    );
  for (const [index, version] of versions.entries())
    if (versions.indexOf(version) < index)
      errors.push(invalid(`${at}.admissionReviewVersions[${index}]`, version, 'duplicate version'));
  if (timeoutSeconds < 1 || timeoutSeconds > 30)
    errors.push(invalid(`${at}.timeoutSeconds`, timeoutSeconds, 'the timeout value must be between 1 and 30 seconds'));
  for (const field of ['namespaceSelector', 'objectSelector'] as const) {
    const selector = webhook[field];
    if (selector !== undefined) errors.push(...labelSelectorProblems(selector, `${at}.${field}`));
  }
  return [
    ...errors,
    ...ruleProblems(webhook.rules ?? [], `${at}.rules`),
    ...clientProblems(webhook.clientConfig, `${at}.clientConfig`),
    ...conditionProblems(webhook.matchConditions, `${at}.matchConditions`, REQUEST_VARIABLES),
  ];
}
