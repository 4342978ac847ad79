/** From a query's text to its tree: see `promql.ts`. */
import { AGGREGATIONS, WITH_PARAMETER } from './aggregate.ts';
import { QueryError } from './errors.ts';
import { argumentsOf } from './functions.ts';
import type { Expression, Grouping, Matcher, Selector } from './promql.ts';
import { durationOf, type Token, tokensOf, unquoted } from './tokens.ts';

const LONGEST_QUERY = 16 * 1024;
const DEEPEST = 100;

/** From weak to strong; `^` binds to the right. */
const PRECEDENCE: Record<string, number> = {
  or: 1,
  and: 2,
  unless: 2,
  ...Object.fromEntries(['==', '!=', '<', '>', '<=', '>='].map((op) => [op, 3])),
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
  '^': 7,
};
const NEGATION = 6;
const COMPARISONS = new Set(['==', '!=', '<', '>', '<=', '>=']);

export function parseQuery(query: string): Expression {
  if (query.length > LONGEST_QUERY) throw new QueryError(`the query is longer than ${LONGEST_QUERY} characters`);
  const parser = new Parser(tokensOf(query));
  const expression = parser.expression(0);
  parser.end();
  return expression;
}

class Parser {
  readonly #tokens: Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: Token[]) {
    this.#tokens = tokens;
  }

  end(): void {
    if (this.#now.kind !== 'end') throw this.#unexpected();
  }

  expression(weakest: number): Expression {
    if (++this.#depth > DEEPEST) throw new QueryError(`the query is nested more than ${DEEPEST} times`);
    let left = this.#operand();
    for (;;) {
      const op = this.#now.text;
      const strength = this.#now.kind === 'mark' || this.#now.kind === 'name' ? PRECEDENCE[op] : undefined;
      if (strength === undefined || strength < weakest) break;
      this.#at++;
      const bool = this.#takes('bool');
      if (bool && !COMPARISONS.has(op)) throw new QueryError('bool modifier can only be used on comparison operators');
      const matching = this.#grouping('on', 'ignoring');
      if (['group_left', 'group_right'].includes(this.#now.text))
        throw new QueryError(`${this.#now.text} is not supported`);
      const right = this.expression(op === '^' ? strength : strength + 1);
      left = { kind: 'binary', op, left, right, bool, ...(matching && { matching }) };
    }
    this.#depth--;
    return left;
  }

  #operand(): Expression {
    const token = this.#now;
    if (token.kind === 'mark' && (token.text === '-' || token.text === '+')) {
      this.#at++;
      const of = this.expression(NEGATION);
      return token.text === '-' ? { kind: 'negative', of } : of;
    }
    if (token.kind === 'number') {
      this.#at++;
      return { kind: 'number', value: Number(token.text) };
    }
    if (token.kind === 'text') {
      this.#at++;
      return { kind: 'text', value: unquoted(token.text) };
    }
    if (this.#takes('(')) {
      const inner = this.expression(0);
      this.#expect(')');
      return inner;
    }
    if (token.kind === 'mark' && token.text === '{') return this.#selector('');
    if (token.kind !== 'name') throw this.#unexpected();
    this.#at++;
    const lower = token.text.toLowerCase();
    if (lower === 'inf' || lower === 'nan') return { kind: 'number', value: lower === 'inf' ? Infinity : Number.NaN };
    if (AGGREGATIONS.has(token.text) && ['(', 'by', 'without'].includes(this.#now.text))
      return this.#aggregate(token.text);
    if (this.#now.text === '(' && this.#now.kind === 'mark') return this.#call(token);
    return this.#selector(token.text);
  }

  #aggregate(name: string): Expression {
    const before = this.#grouping('by', 'without');
    const given = this.#list();
    const grouping = before ?? this.#grouping('by', 'without');
    const [first, second] = given;
    const wanted = WITH_PARAMETER.has(name) ? 2 : 1;
    if (first === undefined || given.length !== wanted) {
      throw new QueryError(
        `wrong number of arguments for aggregate expression provided, expected ${wanted}, got ${given.length}`,
      );
    }
    return {
      kind: 'aggregate',
      name,
      of: second ?? first,
      ...(second && { parameter: first }),
      ...(grouping && { grouping }),
    };
  }

  #call({ text: name, at }: Token): Expression {
    const wanted = argumentsOf(name);
    if (wanted === undefined)
      throw new QueryError(`parse error at char ${at}: unknown function with name ${JSON.stringify(name)}`);
    const given = this.#list();
    if (given.length < wanted.least || given.length > wanted.most) {
      throw new QueryError(
        `expected ${wanted.least} argument(s) in call to ${JSON.stringify(name)}, got ${given.length}`,
      );
    }
    return { kind: 'call', name, arguments: given };
  }

  #list(): Expression[] {
    const list: Expression[] = [];
    this.#expect('(');
    while (!this.#takes(')')) {
      if (list.length > 0) this.#expect(',');
      list.push(this.expression(0));
    }
    return list;
  }

  #selector(metric: string): Selector {
    const matchers: Matcher[] = [];
    if (this.#takes('{')) {
      while (!this.#takes('}')) {
        if (matchers.length > 0) this.#expect(',');
        if (this.#takes('}')) break;
        matchers.push(this.#matcher());
      }
    }
    const named = matchers.find(({ name, op }) => name === '__name__' && op === '=');
    const selector: Selector = {
      kind: 'selector',
      metric: metric || (named?.value ?? ''),
      matchers: matchers.filter((matcher) => matcher !== named),
      offset: 0,
    };
    if (selector.metric === '') throw new QueryError('vector selector must name a metric');
    if (this.#takes('[')) {
      selector.range = this.#duration();
      if (this.#now.text.startsWith(':')) throw new QueryError('subqueries are not supported');
      this.#expect(']');
    }
    if (this.#takes('offset')) {
      const sign = this.#takes('-') ? -1 : 1;
      selector.offset = sign * this.#duration();
    }
    if (this.#now.text === '@') throw new QueryError('the @ modifier is not supported');
    return selector;
  }

  #matcher(): Matcher {
    const { kind, text: name } = this.#now;
    if (kind !== 'name') throw this.#unexpected();
    this.#at++;
    const { text: op } = this.#now;
    if (op !== '=' && op !== '!=' && op !== '=~' && op !== '!~') throw this.#unexpected();
    this.#at++;
    if (this.#now.kind !== 'text') throw this.#unexpected();
    const value = unquoted(this.#now.text);
    this.#at++;
    return { name, op, value };
  }

  #duration(): number {
    const milliseconds = durationOf(this.#now.text);
    if (this.#now.kind !== 'duration' || milliseconds === undefined || milliseconds === 0) throw this.#unexpected();
    this.#at++;
    return milliseconds;
  }

  #grouping(only: string, except: string): Grouping | undefined {
    const which = this.#now.text;
    if (this.#now.kind !== 'name' || (which !== only && which !== except)) return undefined;
    this.#at++;
    this.#expect('(');
    const names: string[] = [];
    while (!this.#takes(')')) {
      if (names.length > 0) this.#expect(',');
      if (this.#now.kind !== 'name') throw this.#unexpected();
      names.push(this.#now.text);
      this.#at++;
    }
    return { only: which === only, labels: names };
  }

  get #now(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: 'end of input', at: 0 };
  }

  #takes(text: string): boolean {
    const { kind } = this.#now;
    if ((kind !== 'mark' && kind !== 'name') || this.#now.text !== text) return false;
    this.#at++;
    return true;
  }

  #expect(text: string): void {
    if (!this.#takes(text)) throw this.#unexpected();
  }

  #unexpected(): QueryError {
    const { at, text } = this.#now;
    return new QueryError(`parse error at char ${at}: unexpected ${JSON.stringify(text)}`);
  }
}
