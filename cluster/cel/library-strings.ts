/** Functions of strings beyond the language's own: CEL's string extension, and Kubernetes' `find` and `findAll`. */
import type { Environment } from '@marcbachmann/cel-js';
import { HAS } from './library-has.ts';
import { findAll, linearPattern } from './patterns.ts';

const TOKENS =
  /[rR]?(?:"""[\s\S]*?"""|'''[\s\S]*?''')|[rR](?:"[^"]*"|'[^']*')|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?<![.\w])has(?=\s*\()|\bmatches(?=\s*\()/g;
const LINEAR = 'matchesRe2';
const OWN: Readonly<Record<string, string>> = { matches: LINEAR, has: HAS };

/** The package's `matches` backtracks, its `has` knows names alone: calls of them lead to others. Text in quotes stays as it is. */
export function withOwnFunctions(source: string): string {
  return source.replace(TOKENS, (token) => (Object.hasOwn(OWN, token) ? (OWN[token] ?? token) : token));
}

/** Where a place of that text is in the source itself. */
export function placeInSource(source: string, place: number): number {
  let added = 0;
  for (const { 0: token, index } of source.matchAll(TOKENS)) {
    if (index + added >= place) break;
    if (Object.hasOwn(OWN, token)) added += (OWN[token] ?? token).length - token.length;
  }
  return place - added;
}

export function addStringFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  const matches = (text: string, pattern: string) => linearPattern(pattern).test(text);
  add(`string.${LINEAR}(string): bool`, matches);
  add(`${LINEAR}(string, string): bool`, matches);
  add('string.find(string): string', (text: string, pattern: string) => findAll(pattern, text, 1)[0] ?? '');
  add('string.findAll(string): list<string>', (text: string, pattern: string) => findAll(pattern, text));
  add('string.findAll(string, int): list<string>', (text: string, pattern: string, limit: bigint) =>
    findAll(pattern, text, limit < 0n ? Number.POSITIVE_INFINITY : Number(limit)),
  );
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
