/**
 * Patterns for paths: those of `COPY` (Go's `filepath.Match`: `*`, `?`, `[a-z]`, `\` escapes, none of them crosses a slash),
 * and those of `.dockerignore` besides (`**` crosses slashes, `!` takes back). Compiled by hand, without a regular expression:
 * matching takes at most the product of both lengths, whatever the pattern.
 */
import { BuildError } from './dockerfile/instruction.ts';

type Token =
  | { kind: 'one'; character: string }
  | { kind: 'any' } // `?`
  | { kind: 'many' } // `*`
  | { kind: 'across' } // `**`
  | { kind: 'class'; isNegated: boolean; ranges: [from: string, to: string][] };

export const LARGEST_PATTERN = 4096;
const MOST_PATTERNS = 10_000;

export function hasWildcard(text: string): boolean {
  return /[*?[]/.test(text);
}

export class Pattern {
  readonly #tokens: Token[];

  /** @throws BuildError on a pattern that is not well-formed */
  constructor(text: string, options: { across?: boolean } = {}) {
    if (text.length > LARGEST_PATTERN) throw new BuildError(`a pattern has more than ${LARGEST_PATTERN} characters`);
    this.#tokens = tokenize(text, options.across === true);
  }

  matches(path: string): boolean {
    // The set of places in the pattern that the path read so far can have reached.
    let states = this.#closed(new Set([0]));
    for (const character of path) {
      const next = new Set<number>();
      for (const state of states) {
        const token = this.#tokens[state];
        if (token === undefined || !accepts(token, character)) continue;
        next.add(token.kind === 'many' || token.kind === 'across' ? state : state + 1);
      }
      if (next.size === 0) return false;
      states = this.#closed(next);
    }
    return states.has(this.#tokens.length);
  }

  /** `*` may stand for nothing. */
  #closed(states: Set<number>): Set<number> {
    for (const state of states) {
      const kind = this.#tokens[state]?.kind;
      if (kind === 'many' || kind === 'across') states.add(state + 1);
    }
    return states;
  }
}

function accepts(token: Token, character: string): boolean {
  switch (token.kind) {
    case 'one':
      return token.character === character;
    case 'any':
    case 'many':
      return character !== '/';
    case 'across':
      return true;
    case 'class':
      return (
        character !== '/' && token.ranges.some(([from, to]) => from <= character && character <= to) !== token.isNegated
      );
  }
}

function tokenize(text: string, across: boolean): Token[] {
  const characters = [...text];
  const tokens: Token[] = [];
  let at = 0;
  const fail = (): BuildError =>
    new BuildError(`pattern ${JSON.stringify(text.slice(0, 200))}: syntax error in pattern`);
  while (at < characters.length) {
    const character = characters[at] ?? '';
    at += 1;
    if (character === '*') {
      const isAcross = across && characters[at] === '*';
      while (characters[at] === '*') at += 1;
      // `**/` is nothing, or directories.
      tokens.push({ kind: isAcross ? 'across' : 'many' });
    } else if (character === '?') tokens.push({ kind: 'any' });
    else if (character === '[') {
      const found = readClass(characters, at);
      if (found === undefined) throw fail();
      tokens.push(found.token);
      at = found.at;
    } else if (character === '\\') {
      const next = characters[at];
      if (next === undefined) throw fail();
      tokens.push({ kind: 'one', character: next });
      at += 1;
    } else tokens.push({ kind: 'one', character });
  }
  return tokens;
}

function readClass(characters: readonly string[], from: number): { token: Token; at: number } | undefined {
  let at = from;
  const isNegated = characters[at] === '^';
  if (isNegated) at += 1;
  const ranges: [string, string][] = [];
  const one = (): string | undefined => {
    if (characters[at] === '\\') at += 1;
    const character = characters[at];
    at += 1;
    return character;
  };
  while (characters[at] !== ']' || ranges.length === 0) {
    if (at >= characters.length || characters[at] === ']' || characters[at] === '-') return undefined;
    const low = one();
    let high = low;
    if (characters[at] === '-') {
      at += 1;
      if (characters[at] === ']') return undefined;
      high = one();
    }
    if (low === undefined || high === undefined || high < low) return undefined;
    ranges.push([low, high]);
  }
  return { token: { kind: 'class', isNegated, ranges }, at: at + 1 };
}

interface Rule {
  pattern: Pattern;
  isException: boolean;
}

export class DockerIgnore {
  readonly #rules: Rule[];

  /** @throws BuildError that quotes the pattern */
  constructor(text: string) {
    const lines = (text.startsWith('\ufeff') ? text.slice(1) : text).split('\n');
    this.#rules = lines.flatMap((line) => rulesOf(line));
    if (this.#rules.length > MOST_PATTERNS)
      throw new BuildError(`.dockerignore has more than ${MOST_PATTERNS} patterns`);
  }

  /** The last rule that fits the path, or a directory above it, decides. */
  excludes(path: string): boolean {
    const parts = path.split('/');
    const above = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    let isExcluded = false;
    for (const { pattern, isException } of this.#rules) {
      if (isException === isExcluded && above.some((one) => pattern.matches(one))) isExcluded = !isException;
    }
    return isExcluded;
  }
}

function rulesOf(line: string): Rule[] {
  if (line.startsWith('#')) return [];
  const trimmed = line.trim();
  if (trimmed === '') return [];
  const isException = trimmed.startsWith('!');
  const text = cleaned(isException ? trimmed.slice(1).trim() : trimmed);
  if (text === '') {
    if (isException) throw new BuildError('illegal exclusion pattern: "!"');
    return [];
  }
  // What `**/` stands for may be nothing at all.
  const variants = text.startsWith('**/') ? [text, text.slice(3)] : [text];
  const middle = variants.flatMap((one) => (one.includes('/**/') ? [one, one.replaceAll('/**/', '/')] : [one]));
  return middle.map((one) => ({ pattern: new Pattern(one, { across: true }), isException }));
}

/** As Go's `filepath.Clean`, and relative to the context. */
function cleaned(text: string): string {
  const parts: string[] = [];
  for (const part of text.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}
