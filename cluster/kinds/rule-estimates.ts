/** Rules of a CustomResourceDefinition that could never be right, or never be afforded: refused when they are written, not when they fail. */
import { compileCel } from '../cel/cel.ts';
import { estimate, mostOf, undefinedFieldText } from '../cel/estimate.ts';
import { ruleVariables } from './custom-rules.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid } from './field-errors.ts';
import type { Schema } from './schema.ts';

/** Upstream's, for one rule. */
const BUDGET = 10_000_000;
/** Our estimates are rougher than upstream's: what it refuses for less is let in, and stopped when it is evaluated. */
const FACTOR = 100;
const ADVICE =
  '(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)';

/** Of the schema's rules and of all within it; each must compile. */
export function estimateProblems(schema: Schema, at: string): FieldError[] {
  const errors: FieldError[] = [];
  visit(schema, { at, times: 1, whole: true }, errors);
  return errors;
}

interface Where {
  at: string;
  /** How many values of the schema one object may have; undefined where a list or map around it has no limit. */
  times: number | undefined;
  whole: boolean;
}

function visit(schema: Schema, where: Where, errors: FieldError[]): void {
  for (const [index, rule] of (schema['x-kubernetes-validations'] ?? []).entries()) {
    const at = `${where.at}.x-kubernetes-validations[${index}].rule`;
    const { ast } = compileCel(rule.rule, ruleVariables(rule));
    const { cost, undefinedField } = estimate(ast, { self: schema, oldSelf: schema }, where.whole);
    if (undefinedField !== undefined)
      errors.push(invalid(at, rule, `compilation failed: ${undefinedFieldText(rule.rule, undefinedField)}`));
    else if (cost * (where.times ?? mostOf(schema)) > BUDGET * FACTOR)
      errors.push(forbidden(at, `estimated rule cost exceeds budget by factor of more than ${FACTOR}x ${ADVICE}`));
  }
  const { at, times } = where;
  const inner = (path: string, factor: number | undefined): Where => ({
    at: `${at}.${path}`,
    times: times === undefined || factor === undefined ? undefined : times * factor,
    whole: false,
  });
  for (const [name, one] of Object.entries(schema.properties ?? {}))
    visit(one, inner(`properties[${name}]`, 1), errors);
  if (typeof schema.additionalProperties === 'object')
    visit(schema.additionalProperties, inner('additionalProperties', schema.maxProperties), errors);
  if (schema.items !== undefined && !Array.isArray(schema.items))
    visit(schema.items, inner('items', schema.maxItems), errors);
}
