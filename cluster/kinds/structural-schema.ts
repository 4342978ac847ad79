/** What a CustomResourceDefinition's schema must be (Kubernetes "Specifying a structural schema"). */
import { celProblem } from '../cel/cel.ts';
import { ruleVariables } from './custom-rules.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { estimateProblems } from './rule-estimates.ts';
import type { Schema } from './schema.ts';
import { fillDefaults, linearPatternOf, prune, validateStructure } from './structural.ts';

const TYPES = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
const LIST_TYPES = ['atomic', 'map', 'set'];
const RULE_REASONS = ['FieldValueDuplicate', 'FieldValueForbidden', 'FieldValueInvalid', 'FieldValueRequired'];
const REFUSED = ['$ref', 'definitions', 'dependencies', 'id', 'patternProperties', 'additionalItems'];
/** A value of the schema says these of it; a condition on it (`anyOf`, …) may not. */
const STRUCTURE = ['type', 'additionalProperties', 'default', 'nullable', 'title', 'description'] as const;
const STRUCTURE_FLAGS = [
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-embedded-resource',
  'x-kubernetes-int-or-string',
] as const;

export function schemaProblems(schema: Schema, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (schema.type !== 'object')
    errors.push(
      schema.type === undefined
        ? required(`${at}.type`, 'must not be empty at the root')
        : invalid(`${at}.type`, schema.type, 'must be object at the root'),
    );
  else visit(schema, at, 'specified object fields', errors);
  return errors.length > 0 ? errors : estimateProblems(schema, at);
}

function visit(schema: Schema, at: string, what: string, errors: FieldError[]): void {
  const free = schema['x-kubernetes-preserve-unknown-fields'] === true || schema['x-kubernetes-int-or-string'] === true;
  if (schema.type === undefined && !free) errors.push(required(`${at}.type`, `must not be empty for ${what}`));
  if (schema.type !== undefined && !TYPES.includes(schema.type))
    errors.push(notSupported(`${at}.type`, schema.type, TYPES));
  keywords(schema, at, errors);
  extensions(schema, at, errors);
  rules(schema, at, errors);
  if (schema.default !== undefined) defaultProblems(schema, at, errors);
  for (const [name, inner] of Object.entries(schema.properties ?? {}))
    visit(inner, `${at}.properties[${name}]`, 'specified object fields', errors);
  if (typeof schema.additionalProperties === 'object')
    visit(schema.additionalProperties, `${at}.additionalProperties`, 'specified object fields', errors);
  if (Array.isArray(schema.items))
    errors.push(forbidden(`${at}.items`, 'items must be a schema object and not an array'));
  else if (schema.items !== undefined) visit(schema.items, `${at}.items`, 'specified array items', errors);
  else if (schema.type === 'array') errors.push(required(`${at}.items`, 'must be specified'));
  conditions(schema, at, schema['x-kubernetes-int-or-string'] === true, errors);
}

function keywords(schema: Schema, at: string, errors: FieldError[]): void {
  for (const key of REFUSED)
    if (Object.hasOwn(schema, key)) errors.push(forbidden(`${at}.${key}`, `${key} is not supported`));
  if (schema.uniqueItems === true)
    errors.push(
      forbidden(
        `${at}.uniqueItems`,
        'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
      ),
    );
  if (schema.additionalProperties === false)
    errors.push(forbidden(`${at}.additionalProperties`, 'additionalProperties cannot be set to false'));
  else if (schema.additionalProperties !== undefined && schema.properties !== undefined)
    errors.push(forbidden(`${at}.additionalProperties`, 'additionalProperties and properties are mutual exclusive'));
  if (schema.pattern !== undefined && linearPatternOf(schema.pattern) === undefined)
    errors.push(invalid(`${at}.pattern`, schema.pattern, 'must be a valid regular expression'));
}

function extensions(schema: Schema, at: string, errors: FieldError[]): void {
  const list = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  if (schema['x-kubernetes-int-or-string'] === true && schema.type !== undefined)
    errors.push(forbidden(`${at}.type`, 'must be empty if x-kubernetes-int-or-string is specified'));
  if (schema['x-kubernetes-embedded-resource'] === true) {
    if (schema.type !== 'object')
      errors.push(invalid(`${at}.type`, schema.type ?? '', 'must be object if x-kubernetes-embedded-resource is true'));
    if (schema.properties === undefined && schema['x-kubernetes-preserve-unknown-fields'] !== true)
      errors.push(
        required(
          `${at}.properties`,
          'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields',
        ),
      );
  }
  if (list !== undefined && !LIST_TYPES.includes(list))
    errors.push(notSupported(`${at}.x-kubernetes-list-type`, list, LIST_TYPES));
  if (list !== undefined && schema.type !== 'array')
    errors.push(invalid(`${at}.type`, schema.type ?? '', 'must be array if x-kubernetes-list-type is specified'));
  if (list === 'map' && keys.length === 0)
    errors.push(required(`${at}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map'));
  if (list !== 'map' && keys.length > 0)
    errors.push(
      invalid(`${at}.x-kubernetes-list-type`, list ?? '', 'must be map if x-kubernetes-list-map-keys is non-empty'),
    );
  for (const [index, key] of keys.entries()) {
    const field = schema.items?.properties?.[key];
    if (field === undefined)
      errors.push(
        invalid(`${at}.x-kubernetes-list-map-keys[${index}]`, key, 'entries must all be names of item properties'),
      );
    else if (schema.items?.required?.includes(key) !== true && field.default === undefined)
      errors.push(
        required(
          `${at}.items.properties[${key}].default`,
          'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
        ),
      );
  }
}

function rules(schema: Schema, at: string, errors: FieldError[]): void {
  for (const [index, rule] of (schema['x-kubernetes-validations'] ?? []).entries()) {
    const where = `${at}.x-kubernetes-validations[${index}]`;
    if (!rule.rule?.trim()) {
      errors.push(required(`${where}.rule`, 'rule is not specified'));
      continue;
    }
    const problem = celProblem(rule.rule, ruleVariables(rule), ['bool']);
    if (problem !== undefined) errors.push(invalid(`${where}.rule`, rule, problem));
    if (rule.messageExpression !== undefined) {
      const bad = celProblem(rule.messageExpression, ruleVariables(rule), ['string']);
      if (bad !== undefined) errors.push(invalid(`${where}.messageExpression`, rule, bad));
    }
    if (rule.message !== undefined && rule.message.trim() === '')
      errors.push(invalid(`${where}.message`, rule.message, 'message must be non-empty if specified'));
    if (rule.message?.trim().includes('\n') === true)
      errors.push(invalid(`${where}.message`, rule.message, 'message must not contain line breaks'));
    if (rule.reason !== undefined && !RULE_REASONS.includes(rule.reason))
      errors.push(notSupported(`${where}.reason`, rule.reason, RULE_REASONS));
    if (rule.fieldPath !== undefined && !leads(schema, rule.fieldPath))
      errors.push(invalid(`${where}.fieldPath`, rule.fieldPath, 'fieldPath must be a valid path'));
  }
}

/** `.a.b`, `.a['b.c']`: to a field that the schema has. */
function leads(schema: Schema, path: string): boolean {
  if (!/^(\.[A-Za-z0-9_-]+|\['[^']+'\])+$/.test(path)) return false;
  let at: Schema | undefined = schema;
  for (const [, plain, quoted] of path.matchAll(/\.([A-Za-z0-9_-]+)|\['([^']+)'\]/g)) {
    const key: string = plain ?? quoted ?? '';
    const additional: Schema | boolean | undefined = at?.additionalProperties;
    at = at?.properties?.[key] ?? (typeof additional === 'object' ? additional : undefined);
  }
  return at !== undefined;
}

function defaultProblems(schema: Schema, at: string, errors: FieldError[]): void {
  const value = structuredClone(schema.default);
  const dropped = prune(value, schema, at);
  if (dropped.length > 0) errors.push(invalid(`${at}.default`, schema.default, 'must not have unknown fields'));
  fillDefaults(value, schema);
  errors.push(...validateStructure(value, schema, { path: `${at}.default` }));
}

function conditions(schema: Schema, at: string, intOrString: boolean, errors: FieldError[]): void {
  const inner: [string, Schema][] = [
    ...(['allOf', 'anyOf', 'oneOf'] as const).flatMap((key) =>
      (schema[key] ?? []).map((one, index): [string, Schema] => [`${at}.${key}[${index}]`, one]),
    ),
    ...(schema.not === undefined ? [] : [[`${at}.not`, schema.not] as [string, Schema]]),
  ];
  for (const [path, one] of inner) unstructured(one, path, intOrString, errors);
}

function unstructured(schema: Schema, at: string, intOrString: boolean, errors: FieldError[]): void {
  for (const key of STRUCTURE)
    if (schema[key] !== undefined && !(key === 'type' && intOrString))
      errors.push(forbidden(`${at}.${key}`, 'must be empty to be structural'));
  for (const key of STRUCTURE_FLAGS)
    if (schema[key] === true) errors.push(forbidden(`${at}.${key}`, 'must be false to be structural'));
  if (schema.pattern !== undefined && linearPatternOf(schema.pattern) === undefined)
    errors.push(invalid(`${at}.pattern`, schema.pattern, 'must be a valid regular expression'));
  for (const [name, inner] of Object.entries(schema.properties ?? {}))
    unstructured(inner, `${at}.properties[${name}]`, intOrString, errors);
  if (schema.items !== undefined) unstructured(schema.items, `${at}.items`, intOrString, errors);
  conditions(schema, at, intOrString, errors);
}
