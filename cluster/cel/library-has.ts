/** `has(e.f)` of every expression `e`: the language's package knows it for chains of names alone (`has(self.list[0].name)` is none). */
import { type ASTNode, type Environment, Optional } from '@marcbachmann/cel-js';

/** The name under which it is registered, as the package's own cannot be replaced. */
export const HAS = 'hasField';

interface Checker {
  check(node: ASTNode, context: unknown): unknown;
  getType(name: string): unknown;
}

interface Evaluator {
  run(node: ASTNode, context: unknown): unknown;
}

interface Macro {
  of: ASTNode;
  field: string;
}

export function addHas(environment: Environment): void {
  const macro = ({ args }: { args: ASTNode[] }) => {
    const [selected] = args;
    if (selected === undefined || selected.op !== '.') throw new Error('invalid argument to has() macro');
    return {
      of: selected.args[0],
      field: selected.args[1],
      typeCheck(checker: Checker, { of }: Macro, context: unknown) {
        checker.check(of, context);
        return checker.getType('bool');
      },
      evaluate: (evaluator: Evaluator, { of, field }: Macro, context: unknown) =>
        isThere(evaluator.run(of, context), field),
    };
  };
  environment.registerFunction(`${HAS}(ast): bool`, macro as never, { async: false });
}

function isThere(value: unknown, field: string): boolean {
  const of = value instanceof Optional ? (value.hasValue() ? value.value() : undefined) : value;
  if (of instanceof Map) return of.has(field);
  if (typeof of !== 'object' || of === null || !Object.hasOwn(of, field)) return false;
  return (of as Record<string, unknown>)[field] !== undefined;
}
