/** Cuts a query into tokens. */
import { QueryError } from './errors.ts';

export interface Token {
  kind: 'number' | 'duration' | 'text' | 'name' | 'mark' | 'end';
  text: string;
  /** Where it begins, from 1. */
  at: number;
}

const PATTERNS: [Token['kind'] | 'space', RegExp][] = [
  ['space', /(?:\s|#[^\n]*)+/y],
  ['duration', /(?:\d+(?:ms|[smhdwy]))+(?![A-Za-z0-9_])/y],
  ['number', /0x[0-9A-Fa-f]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![A-Za-z0-9_])/y],
  ['text', /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`/y],
  ['name', /[A-Za-z_:][A-Za-z0-9_:]*/y],
  ['mark', /==|!=|=~|!~|>=|<=|[-+*/%^<>=(){}[\],:@]/y],
];

export function tokensOf(query: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < query.length; ) {
    const found = matchAt(query, at);
    if (found === undefined) {
      throw new QueryError(`parse error at char ${at + 1}: unexpected character: ${JSON.stringify(query[at])}`);
    }
    if (found.kind !== 'space') tokens.push({ kind: found.kind, text: found.text, at: at + 1 });
    at += found.text.length;
  }
  tokens.push({ kind: 'end', text: 'end of input', at: query.length + 1 });
  return tokens;
}

function matchAt(query: string, at: number): { kind: Token['kind'] | 'space'; text: string } | undefined {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = at;
    const [text] = pattern.exec(query) ?? [];
    if (text !== undefined) return { kind, text };
  }
  return undefined;
}

const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' };

export function unquoted(text: string): string {
  const inner = text.slice(1, -1);
  if (text.startsWith('`')) return inner;
  return inner.replaceAll(/\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))/gs, (_, hex, unicode, letter: string) => {
    const code = (hex ?? unicode) as string | undefined;
    return code === undefined ? (ESCAPES[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16));
  });
}

const UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** Milliseconds of `1h30m`; undefined when it is none. */
export function durationOf(text: string): number | undefined {
  if (!/^(?:\d{1,12}(?:ms|[smhdwy]))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, count = '', unit = ''] of text.matchAll(/(\d+)(ms|[smhdwy])/g))
    sum += Number(count) * (UNITS[unit] ?? 0);
  return sum;
}
