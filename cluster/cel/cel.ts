/**
 * CEL as Kubernetes speaks it (Kubernetes "Common Expression Language in Kubernetes"): the language, from npm, with
 * Kubernetes' own functions (`library-*.ts`) and its values (`value.ts`).
 *
 * - An expression is checked when it is compiled: syntax, names of variables and functions, types as far as they are known.
 * - Patterns are RE2's: no expression takes longer than its input is long.
 * - What is evaluated together is stopped after `EVALUATION_LIMIT`, so that nobody's rule holds up the server.
 *
 * Fields are not declared: one that does not exist is found when the expression is evaluated, not before.
 */
import { createContext, Script } from 'node:vm';
import { type ASTNode, Environment, Optional } from '@marcbachmann/cel-js';
import { addAuthorizerFunctions } from './library-authorizer.ts';
import { addFormatFunctions } from './library-format.ts';
import { addHas } from './library-has.ts';
import { addListFunctions } from './library-lists.ts';
import { addNetworkFunctions } from './library-network.ts';
import { addQuantityFunctions } from './library-quantity.ts';
import { addStringFunctions, withOwnFunctions } from './library-strings.ts';

export class CelError extends Error {
  readonly code: 'compile' | 'evaluate' | 'limit';
  constructor(code: CelError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CelError';
    this.code = code;
  }
}

/** Variables by name, as `value.ts` makes them. */
export type CelVariables = Record<string, unknown>;

export interface CelProgram {
  source: string;
  ast: ASTNode;
  /** Of the result, as far as it is known: `bool`, `string`, `dyn`, … */
  type: string;
  /** Throws CelError `evaluate`. */
  evaluate(variables: CelVariables): unknown;
}

/** Milliseconds for all that one request has evaluated at once. */
const EVALUATION_LIMIT = 1000;
const PROGRAM_LIMIT = 2000;

const base = new Environment({
  enableOptionalTypes: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 10_000, maxDepth: 100 },
});
addStringFunctions(base);
addFormatFunctions(base);
addHas(base);
addListFunctions(base);
addQuantityFunctions(base);
addNetworkFunctions(base);
addAuthorizerFunctions(base);

const programs = new Map<string, CelProgram>();

/** Throws CelError `compile`. The same text is compiled once. A variable may have a type: `oldSelf optional<dyn>`. */
export function compileCel(source: string, variables: readonly string[]): CelProgram {
  const key = `${variables.join(',')}\n${source}`;
  let program = programs.get(key);
  if (program === undefined) {
    program = compile(source, variables);
    if (programs.size >= PROGRAM_LIMIT) programs.clear();
    programs.set(key, program);
  }
  return program;
}

function compile(source: string, variables: readonly string[]): CelProgram {
  const environment = base.clone();
  for (const variable of variables) {
    const [name = '', type = 'dyn'] = variable.split(' ');
    environment.registerVariable(name, type);
  }
  try {
    const run = environment.parse(withOwnFunctions(source));
    const checked = run.check();
    if (!checked.valid) throw checked.error ?? new Error('it does not fit together');
    return {
      source,
      ast: run.ast,
      type: String(checked.type),
      evaluate(values) {
        try {
          return run(values);
        } catch (error) {
          throw new CelError('evaluate', firstLine(error), { cause: error });
        }
      },
    };
  } catch (error) {
    throw new CelError('compile', firstLine(error), { cause: error });
  }
}

/** For a variable of the type `optional`. */
export function optionalOf(value: unknown): Optional {
  return value === undefined ? Optional.none() : Optional.of(value);
}

/** Undefined when it compiles to one of these types. */
export function celProblem(
  source: string,
  variables: readonly string[],
  types: readonly string[] | 'any',
): string | undefined {
  try {
    const { type } = compileCel(source, variables);
    if (types === 'any' || type === 'dyn' || types.includes(type)) return undefined;
    return `must evaluate to ${types.join(' or ')}`;
  } catch (error) {
    return `compilation failed: ${firstLine(error)}`;
  }
}

const QUOTED = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g;

/** Does the expression name this variable? */
export function mentions(source: string, variable: string): boolean {
  return new RegExp(`\\b${variable}\\b`).test(source.replace(QUOTED, '""'));
}

const watched = createContext({ work: () => undefined as unknown });
const start = new Script('work()');

/** Runs what evaluates. Throws CelError `limit` when it takes too long, which is in the words that upstream has for its costs. */
export function withinLimit<T>(work: () => T): T {
  watched['work'] = work;
  try {
    return start.runInContext(watched, { timeout: EVALUATION_LIMIT }) as T;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    // A program that was stopped in its middle is not used again.
    programs.clear();
    throw new CelError('limit', 'operation cancelled: actual cost limit exceeded', { cause: error });
  } finally {
    watched['work'] = undefined;
  }
}

/** The others show the source. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] ?? text;
}
