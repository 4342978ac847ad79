/**
 * Filters of SCIM 1.1 (section 3.2.2.1), as UAA takes them: `userName eq "joe" and (active eq true or not-yet pr)`.
 * Names of attributes and strings are compared without regard to case. Hostile text ends in an error, never in long work.
 */
import { UaaError } from '../uaa.ts';

/** Every attribute of a resource that can be asked for, by its name in lower case (`emails.value`). */
export type Attributes = Readonly<Record<string, readonly (string | boolean)[]>>;

export type Filter = (attributes: Attributes) => boolean;

const MAX_LENGTH = 2_048;
const MAX_DEPTH = 16;
const TOKEN = /\s*(\(|\)|"(?:[^"\\]|\\["\\])*"|[^\s()"]+)/y;

type Compare = (actual: string, wanted: string) => boolean;

const COMPARISONS: Record<string, Compare> = {
  eq: (actual, wanted) => actual === wanted,
  co: (actual, wanted) => actual.includes(wanted),
  sw: (actual, wanted) => actual.startsWith(wanted),
  gt: (actual, wanted) => actual > wanted,
  ge: (actual, wanted) => actual >= wanted,
  lt: (actual, wanted) => actual < wanted,
  le: (actual, wanted) => actual <= wanted,
};

/** @param names  what may be asked for, in lower case */
export function parseFilter(text: string, names: readonly string[]): Filter {
  if (text.length > MAX_LENGTH) throw invalid(`it is longer than ${MAX_LENGTH} characters`);
  return new Parser(tokens(text), names).all();
}

function tokens(text: string): string[] {
  const found: string[] = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw invalid(`a quotation mark at character ${at + 1} is not closed`);
    found.push(match[1] ?? '');
  }
  return found;
}

class Parser {
  readonly #tokens: string[];
  readonly #names: readonly string[];
  #at = 0;

  constructor(all: string[], names: readonly string[]) {
    this.#tokens = all;
    this.#names = names;
  }

  all(): Filter {
    const filter = this.#either(0);
    if (this.#at < this.#tokens.length) throw invalid(`${JSON.stringify(this.#tokens[this.#at])} is not expected`);
    return filter;
  }

  #either(depth: number): Filter {
    const parts = [this.#both(depth)];
    while (this.#word('or')) parts.push(this.#both(depth));
    return (attributes) => parts.some((part) => part(attributes));
  }

  #both(depth: number): Filter {
    const parts = [this.#one(depth)];
    while (this.#word('and')) parts.push(this.#one(depth));
    return (attributes) => parts.every((part) => part(attributes));
  }

  #one(depth: number): Filter {
    if (depth > MAX_DEPTH) throw invalid(`it is nested deeper than ${MAX_DEPTH}`);
    if (this.#word('(')) {
      const inner = this.#either(depth + 1);
      if (!this.#word(')')) throw invalid('a bracket is not closed');
      return inner;
    }
    const name = this.#next('an attribute').toLowerCase();
    if (!this.#names.includes(name)) {
      throw invalid(`${JSON.stringify(name.slice(0, 60))} is none of ${this.#names.join(', ')}`);
    }
    const operator = this.#next('an operator').toLowerCase();
    if (operator === 'pr') return (attributes) => (attributes[name] ?? []).some((value) => value !== '');
    const compare = Object.hasOwn(COMPARISONS, operator) ? COMPARISONS[operator] : undefined;
    if (!compare) {
      const known = [...Object.keys(COMPARISONS), 'pr'].join(', ');
      throw invalid(`${JSON.stringify(operator.slice(0, 60))} is none of the operators ${known}`);
    }
    const wanted = unquoted(this.#next('a value')).toLowerCase();
    return (attributes) => (attributes[name] ?? []).some((value) => compare(String(value).toLowerCase(), wanted));
  }

  #word(word: string): boolean {
    if (this.#tokens[this.#at]?.toLowerCase() !== word) return false;
    this.#at++;
    return true;
  }

  #next(what: string): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined || token === '(' || token === ')') throw invalid(`${what} is missing`);
    return token;
  }
}

/** UAA takes single quotation marks too. */
function unquoted(token: string): string {
  if (token.startsWith('"')) return token.slice(1, -1).replaceAll(/\\(["\\])/g, '$1');
  const single = /^'(.*)'$/.exec(token);
  return single?.[1] ?? token;
}

function invalid(reason: string): UaaError {
  return new UaaError('invalid_scim_resource', `Invalid filter expression: ${reason}`);
}
