/** What the environment of a container must be, with the errors of the API reference. */
import type { FieldError } from './field-error.ts';
import { invalid, notSupported, required } from './field-errors.ts';
import { dnsSubdomainProblem, qualifiedNameProblem } from './names.ts';
import { quantityValue } from './quantity.ts';
import type {
  Container,
  EnvFromSource,
  EnvVarSource,
  ObjectFieldSelector,
  ResourceFieldSelector,
} from './types/core.ts';

const FIELDS = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
/** Names of a pod's fields that are no environment variable's. */
const OTHER_FIELDS = [
  'metadata.annotations',
  'metadata.labels',
  'spec.restartPolicy',
  'spec.schedulerName',
  'status.phase',
];
const FILE_FIELDS = ['metadata.annotations', 'metadata.labels', 'metadata.name', 'metadata.namespace', 'metadata.uid'];
const RESOURCES = [
  'limits.cpu',
  'limits.ephemeral-storage',
  'limits.memory',
  'requests.cpu',
  'requests.ephemeral-storage',
  'requests.memory',
];
const SIZES = '1,1k,1M,1G,1T,1P,1E,1Ki,1Mi,1Gi,1Ti,1Pi,1Ei';
const KEY = /^[-._a-zA-Z0-9]+$/;
const KEY_TEXT =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

export function environmentErrors({ env, envFrom }: Pick<Container, 'env' | 'envFrom'>, at: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, { name, value, valueFrom }] of (env ?? []).entries()) {
    const path = `${at}.env[${index}]`;
    if (!name) errors.push(required(`${path}.name`));
    else if (/[=\0]/.test(name))
      errors.push(invalid(`${path}.name`, name, "a valid environment variable name must not contain '='"));
    if (valueFrom !== undefined) errors.push(...sourceErrors(valueFrom, value, `${path}.valueFrom`));
  }
  for (const [index, source] of (envFrom ?? []).entries()) errors.push(...allErrors(source, `${at}.envFrom[${index}]`));
  return errors;
}

function sourceErrors(source: EnvVarSource, value: string | undefined, at: string): FieldError[] {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = source;
  const errors: FieldError[] = [];
  const given = [fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef].filter((one) => one !== undefined);
  if (given.length === 0)
    errors.push(
      invalid(at, '', 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`'),
    );
  if (value) errors.push(invalid(at, '', 'may not be specified when `value` is not empty'));
  if (given.length > 1) errors.push(invalid(at, '', 'may not have more than one field specified at a time'));
  if (fieldRef !== undefined) errors.push(...fieldErrors(fieldRef, `${at}.fieldRef`, FIELDS));
  if (resourceFieldRef !== undefined)
    errors.push(...resourceSelectorErrors(resourceFieldRef, `${at}.resourceFieldRef`));
  for (const [field, reference] of Object.entries({ configMapKeyRef, secretKeyRef }))
    if (reference !== undefined) errors.push(...keyErrors(reference, `${at}.${field}`));
  return errors;
}

function keyErrors({ name, key }: { name?: string; key: string }, at: string): FieldError[] {
  const errors = nameErrors(name, `${at}.name`);
  if (!key) errors.push(required(`${at}.key`));
  else if (key.length > 253 || key === '.' || key.startsWith('..') || !KEY.test(key))
    errors.push(invalid(`${at}.key`, key, KEY_TEXT));
  return errors;
}

function nameErrors(name: string | undefined, at: string): FieldError[] {
  if (!name) return [required(at)];
  const problem = dnsSubdomainProblem(name);
  return problem === undefined ? [] : [invalid(at, name, problem)];
}

function allErrors({ prefix, configMapRef, secretRef }: EnvFromSource, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (prefix !== undefined && /[=\0]/.test(prefix))
    errors.push(invalid(`${at}.prefix`, prefix, "a valid environment variable name must not contain '='"));
  if (configMapRef === undefined && secretRef === undefined)
    errors.push(invalid(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
  if (configMapRef !== undefined && secretRef !== undefined)
    errors.push(invalid(at, '', 'may not have more than one field specified at a time'));
  if (configMapRef !== undefined) errors.push(...nameErrors(configMapRef.name, `${at}.configMapRef.name`));
  if (secretRef !== undefined) errors.push(...nameErrors(secretRef.name, `${at}.secretRef.name`));
  return errors;
}

function fieldErrors({ fieldPath }: ObjectFieldSelector, at: string, allowed: readonly string[]): FieldError[] {
  if (!fieldPath) return [required(`${at}.fieldPath`)];
  const [, map, key] = /^(.*)\['(.*)'\]$/.exec(fieldPath) ?? [];
  if (map !== undefined) {
    if (map !== 'metadata.annotations' && map !== 'metadata.labels')
      return [invalid(`${at}.fieldPath`, fieldPath, 'does not support subscript')];
    const problem = qualifiedNameProblem((key ?? '').toLowerCase());
    return problem === undefined ? [] : [invalid(`${at}.fieldPath`, key, problem)];
  }
  if (allowed.includes(fieldPath)) return [];
  if ([...FIELDS, ...OTHER_FIELDS].includes(fieldPath)) return [notSupported(`${at}.fieldPath`, fieldPath, allowed)];
  return [invalid(`${at}.fieldPath`, fieldPath, `error converting fieldPath: field label not supported: ${fieldPath}`)];
}

/** Of a file of a volume, which can show more of the pod and less of where it is. */
export function fileFieldErrors(selector: ObjectFieldSelector, at: string): FieldError[] {
  return fieldErrors(selector, at, FILE_FIELDS);
}

export function resourceSelectorErrors({ resource, divisor }: ResourceFieldSelector, at: string): FieldError[] {
  if (!resource) return [required(`${at}.resource`)];
  const isPages = /^(limits|requests)\.hugepages-/.test(resource);
  if (!RESOURCES.includes(resource) && !isPages) return [notSupported(`${at}.resource`, resource, RESOURCES)];
  if (divisor === undefined || quantityValue(divisor) === 0) return [];
  const [allowed, text] = resource.endsWith('.cpu') ? ['1m,1', 'values 1m and 1'] : [SIZES, `values ${SIZES}`];
  if (allowed.split(',').some((one) => quantityValue(one) === quantityValue(divisor))) return [];
  const name = resource.slice(resource.indexOf('.') + 1);
  return [
    invalid(
      `${at}.divisor`,
      'divisor',
      `only divisor's ${text.replaceAll(',', ', ')} are supported with the ${name} resource`,
    ),
  ];
}
