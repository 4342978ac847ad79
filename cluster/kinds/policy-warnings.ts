/** Fields that a policy's expressions name and the objects that it is about do not have (Kubernetes "Type checking" of policies). */
import { compileCel } from '../cel/cel.ts';
import { estimate, undefinedFieldText } from '../cel/estimate.ts';
import type { Schema } from './schema.ts';
import type { ExpressionWarning, ValidatingAdmissionPolicySpec } from './types/admissionregistration.ts';
import { POLICY_VARIABLES } from './validating-admission-policy.ts';

export interface CheckedType {
  /** `apps/v1, Kind=Deployment` */
  title: string;
  schema: Schema;
}

/** In the words of upstream's; of what does not compile nothing is said. */
export function typeWarnings(spec: ValidatingAdmissionPolicySpec, types: readonly CheckedType[]): ExpressionWarning[] {
  return expressionsOf(spec).flatMap(({ fieldRef, expression }) => {
    const warnings = types.flatMap(({ title, schema }) => {
      const problem = problemOf(expression, schema);
      return problem === undefined ? [] : [`${title}: ${problem}`];
    });
    return warnings.length === 0 ? [] : [{ fieldRef, warning: warnings.join('\n') }];
  });
}

function expressionsOf({ variables, validations }: ValidatingAdmissionPolicySpec) {
  return [
    ...(variables ?? []).map(({ expression }, index) => ({
      fieldRef: `spec.variables[${index}].expression`,
      expression,
    })),
    ...(validations ?? []).flatMap(({ expression, messageExpression }, index) => [
      { fieldRef: `spec.validations[${index}].expression`, expression },
      ...(messageExpression === undefined
        ? []
        : [{ fieldRef: `spec.validations[${index}].messageExpression`, expression: messageExpression }]),
    ]),
  ];
}

function problemOf(expression: string, schema: Schema): string | undefined {
  const { ast } = compileCel(expression, POLICY_VARIABLES);
  const missing = estimate(ast, { object: schema, oldObject: schema }, true).undefinedField;
  return missing && undefinedFieldText(expression, missing);
}
