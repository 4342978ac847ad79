import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, required } from './field-errors.ts';
import { dns1035Problem } from './names.ts';
import { apiServices } from './resources.ts';
import { setDefaults } from './rules.ts';
import type { APIService } from './types/apiregistration.ts';

const AVAILABLE = 'Available';

export const apiServiceKind = defineKind(apiServices, {
  schemaName: 'io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService',
  categories: ['api-extensions'],
  subresources: { status: true },
  nameRule: 'path-segment',
  columns: [
    nameColumn,
    column<APIService>('Service', 'string', ({ spec }) =>
      spec?.service ? `${spec.service.namespace}/${spec.service.name}` : 'Local',
    ),
    column<APIService>('Available', 'string', ({ status }) => {
      const condition = status?.conditions?.find(({ type }) => type === AVAILABLE);
      if (condition === undefined) return 'Unknown';
      return condition.status === 'True' ? 'True' : `${condition.status} (${condition.reason ?? ''})`;
    }),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { spec: {}, 'spec.service.port': 443, status: {} }),
  prepareForCreate: (object) => {
    const service = object as unknown as APIService;
    service.status = service.spec?.service === undefined ? { conditions: [localCondition(Date.now())] } : {};
  },
  validate: (object) => problems(object as unknown as APIService),
});

/** What this server serves itself is there as long as it is. */
export function localCondition(now: number) {
  return {
    type: AVAILABLE,
    status: 'True',
    lastTransitionTime: `${new Date(now).toISOString().slice(0, 19)}Z`,
    reason: 'Local',
    message: 'Local APIServices are always available',
  };
}

function problems({ metadata, spec }: APIService): FieldError[] {
  const { group = '', version = '', service, caBundle, insecureSkipTLSVerify } = spec ?? {};
  const { groupPriorityMinimum, versionPriority } = spec ?? {};
  const errors: FieldError[] = [];
  const name = `${version}.${group}`;
  if (metadata.name !== name)
    errors.push(
      invalid('metadata.name', metadata.name ?? '', `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(name)}`),
    );
  if (group === '' && version !== 'v1')
    errors.push(required('spec.group', 'only v1 may have an empty group and it better be legacy kube'));
  if (version === '') errors.push(required('spec.version', ''));
  else {
    const problem = dns1035Problem(version);
    if (problem !== undefined) errors.push(invalid('spec.version', version, problem));
  }
  errors.push(...priorityProblem('spec.groupPriorityMinimum', groupPriorityMinimum, 20_000));
  errors.push(...priorityProblem('spec.versionPriority', versionPriority, 1000));
  if (service === undefined || service === null) {
    if (caBundle)
      errors.push(invalid('spec.caBundle', `${caBundle.length} bytes`, 'local APIServices may not have a caBundle'));
    if (insecureSkipTLSVerify === true)
      errors.push(invalid('spec.insecureSkipTLSVerify', true, 'local APIServices may not have insecureSkipTLSVerify'));
    return errors;
  }
  if (!service.namespace) errors.push(required('spec.service.namespace', ''));
  if (!service.name) errors.push(required('spec.service.name', ''));
  const { port = 443 } = service;
  if (port < 1 || port > 65_535)
    errors.push(invalid('spec.service.port', port, 'port is not valid: must be between 1 and 65535, inclusive'));
  if (insecureSkipTLSVerify === true && caBundle)
    errors.push(invalid('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present'));
  return errors;
}

function priorityProblem(field: string, value: number | undefined, highest: number): FieldError[] {
  return value !== undefined && value > 0 && value <= highest
    ? []
    : [invalid(field, value ?? 0, `must be positive and less than ${highest}`)];
}
