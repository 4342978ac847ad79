/** Functions of strings beyond the language's own: CEL's string extension, and Kubernetes' `find` and `findAll`. */
import type { Environment } from '@marcbachmann/cel-js';
import { linearPattern } from './patterns.ts';

const TOKENS =
  /[rR]?(?:"""[\s\S]*?"""|'''[\s\S]*?''')|[rR](?:"[^"]*"|'[^']*')|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\bmatches(?=\s*\()/g;
const LINEAR = 'matchesRe2';

/** The language's own `matches` backtracks: its calls lead to another, which does not. Text in quotes stays as it is. */
export function withLinearMatches(source: string): string {
  return source.replace(TOKENS, (token) => (token === 'matches' ? LINEAR : token));
}

export function addStringFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  const matches = (text: string, pattern: string) => linearPattern(pattern).test(text);
  add(`string.${LINEAR}(string): bool`, matches);
  add(`${LINEAR}(string, string): bool`, matches);
  add('string.charAt(int): string', (text: string, index: bigint) => [...text][inRange(index, text)] ?? '');
  add('string.replace(string, string): string', (text: string, from: string, to: string) => text.split(from).join(to));
  add('string.replace(string, string, int): string', replaceSome);
  add('string.reverse(): string', (text: string) => [...text].reverse().join(''));
}

function inRange(index: bigint, text: string): number {
  const at = Number(index);
  if (at < 0 || at > [...text].length) throw new Error(`index out of range: ${at}`);
  return at;
}

function replaceSome(text: string, from: string, to: string, limit: bigint): string {
  const parts = text.split(from);
  if (limit < 0n) return parts.join(to);
  const some = Number(limit) + 1;
  if (parts.length <= some) return parts.join(to);
  return [...parts.slice(0, some - 1), parts.slice(some - 1).join(from)].join(to);
}
