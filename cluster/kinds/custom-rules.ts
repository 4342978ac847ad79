/** `x-kubernetes-validations` of custom resources: CEL rules of a value, and of what it became (Kubernetes "Validation rules"). */
import { isDeepStrictEqual } from 'node:util';
import { CelError, compileCel, mentions, optionalOf, withinLimit } from '../cel/cel.ts';
import { celValue } from '../cel/value.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, required } from './field-errors.ts';
import type { ApiObject } from './kind.ts';
import type { Schema } from './schema.ts';
import { counterpart, propertySchema } from './structural.ts';
import type { ValidationRule } from './types/apiextensions.ts';

const VARIABLES = ['self', 'oldSelf'];
const WITH_OPTIONAL = ['self', 'oldSelf optional<dyn>'];
/** Of one object: the rest is not worth a client's reading. */
const ERROR_LIMIT = 100;

const ruled = new WeakMap<Schema, boolean>();

export function ruleVariables({ optionalOldSelf }: ValidationRule): string[] {
  return optionalOldSelf === true ? WITH_OPTIONAL : VARIABLES;
}

/** Does it, or anything in it, have a rule? */
export function hasRules(schema: Schema): boolean {
  let found = ruled.get(schema);
  if (found === undefined) {
    const inner = [
      ...Object.values(schema.properties ?? {}),
      ...(schema.items === undefined ? [] : [schema.items]),
      ...(typeof schema.additionalProperties === 'object' ? [schema.additionalProperties] : []),
    ];
    found = schema['x-kubernetes-validations'] !== undefined || inner.some(hasRules);
    ruled.set(schema, found);
  }
  return found;
}

/** @param old  undefined for a new object; rules of changes are then left out */
export function validateRules(object: ApiObject, old: ApiObject | undefined, schema: Schema): FieldError[] {
  if (!hasRules(schema)) return [];
  const errors: FieldError[] = [];
  try {
    withinLimit(() => visit(visible(object), old === undefined ? undefined : visible(old), schema, '', errors));
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    errors.push(
      forbidden('', 'validation failed due to running out of cost budget, no further validation rules will be run'),
    );
  }
  return errors;
}

/** Of the metadata a rule sees the name alone. */
function visible(object: ApiObject): ApiObject {
  const { name, generateName } = object.metadata;
  return {
    ...object,
    metadata: { ...(name === undefined ? {} : { name }), ...(generateName === undefined ? {} : { generateName }) },
  };
}

function visit(value: unknown, old: unknown, schema: Schema, path: string, errors: FieldError[]): void {
  if (value === undefined || value === null || errors.length >= ERROR_LIMIT || !hasRules(schema)) return;
  const unchanged = old !== undefined && isDeepStrictEqual(value, old);
  // What did not change was let in once; only what a rule says of changes is asked again.
  const rules = (schema['x-kubernetes-validations'] ?? []).filter(
    ({ rule }) => !unchanged || mentions(rule, 'oldSelf'),
  );
  if (rules.length > 0) {
    const self = celValue(value, schema);
    const oldSelf = old === undefined || old === null ? undefined : celValue(old, schema);
    for (const rule of rules) check(rule, { self, oldSelf }, schema, path, errors);
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      if (schema.items !== undefined)
        visit(item, counterpart(item, old, schema), schema.items, `${path}[${index}]`, errors);
  } else if (typeof value === 'object')
    for (const [key, inner] of Object.entries(value)) {
      const known = propertySchema(schema, key);
      const before = typeof old === 'object' && old !== null ? (old as Record<string, unknown>)[key] : undefined;
      if (known !== undefined) visit(inner, before, known, path === '' ? key : `${path}.${key}`, errors);
    }
}

function check(
  rule: ValidationRule,
  { self, oldSelf }: { self: unknown; oldSelf: unknown },
  schema: Schema,
  path: string,
  errors: FieldError[],
): void {
  const optional = rule.optionalOldSelf === true;
  if (oldSelf === undefined && !optional && mentions(rule.rule, 'oldSelf')) return;
  const at = `${path}${rule.fieldPath ?? ''}`.replace(/^\./, '');
  const kind = schema.type ?? '';
  const variables = { self, oldSelf: optional ? optionalOf(oldSelf) : oldSelf };
  const stated = rule.message?.trim() ? rule.message.trim() : `failed rule: ${rule.rule}`;
  try {
    if (compileCel(rule.rule, ruleVariables(rule)).evaluate(variables) === true) return;
  } catch (error) {
    if (!(error instanceof CelError) || error.code === 'limit') throw error;
    errors.push(invalid(at, kind, `${error.message} evaluating rule: ${stated}`));
    return;
  }
  const message = said(rule, variables) ?? stated;
  if (rule.reason === 'FieldValueForbidden') errors.push(forbidden(at, message));
  else if (rule.reason === 'FieldValueRequired') errors.push(required(at, message));
  else if (rule.reason === 'FieldValueDuplicate') errors.push(duplicate(at, kind));
  else errors.push(invalid(at, kind, message));
}

/** What the rule's own expression makes of it; nothing where that fails, so that the rule's text is said instead. */
function said(rule: ValidationRule, variables: Record<string, unknown>): string | undefined {
  if (rule.messageExpression === undefined) return undefined;
  try {
    const text = compileCel(rule.messageExpression, ruleVariables(rule)).evaluate(variables);
    return typeof text === 'string' && text.trim() !== '' && !text.includes('\n') ? text.trim() : undefined;
  } catch (error) {
    if (error instanceof CelError && error.code !== 'limit') return undefined;
    throw error;
  }
}
