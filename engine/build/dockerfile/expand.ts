/**
 * Replaces variables in a word and takes its quotes away, as the Dockerfile reference has it ("Environment replacement"):
 * `$name`, `${name}`, `${name:-word}`, `${name-word}`, `${name:+word}`, `${name+word}`, `${name:?word}`, `${name?word}`.
 */
import { BuildError } from './instruction.ts';

export type Variables = ReadonlyMap<string, string>;

/** Of nested `${a:-${b:-…}}`. */
const DEEPEST = 100;
/** Of one word: a few variables that name each other could grow without end. */
const LONGEST = 1024 * 1024;

/** One word, whatever blanks its variables bring. */
export function expandWord(word: string, variables: Variables, escape: string): string {
  return new Expansion(word, variables, escape).run().join('');
}

/** Several, where blanks of an unquoted variable divide them (`EXPOSE $PORTS`). */
export function expandWords(word: string, variables: Variables, escape: string): string[] {
  const words: string[] = [];
  let current = '';
  let has = false;
  for (const [text, isQuoted] of new Expansion(word, variables, escape).pieces()) {
    const parts = isQuoted ? [text] : text.split(/\s+/);
    for (const [index, part] of parts.entries()) {
      if (index > 0 && has) {
        words.push(current);
        current = '';
        has = false;
      }
      current += part;
      has ||= part !== '' || isQuoted;
    }
  }
  if (has) words.push(current);
  return words;
}

/** Variables alone: quotes are text (the contents of a heredoc). */
export function expandText(text: string, variables: Variables): string {
  return new Expansion(text, variables, '\\', true).run().join('');
}

class Expansion {
  readonly #text: string;
  readonly #variables: Variables;
  readonly #escape: string;
  readonly #isText: boolean;
  #at = 0;
  #length = 0;

  constructor(text: string, variables: Variables, escape: string, isText = false) {
    this.#text = text;
    this.#variables = variables;
    this.#escape = escape;
    this.#isText = isText;
  }

  run(): string[] {
    return this.pieces().map(([text]) => text);
  }

  pieces(): [text: string, isQuoted: boolean][] {
    return this.#until(undefined, 0);
  }

  #until(end: string | undefined, depth: number): [string, boolean][] {
    if (depth > DEEPEST) throw this.#fail('it is nested too deep');
    const pieces: [string, boolean][] = [];
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at] ?? '';
      if (character === end) return pieces;
      if (character === "'" && !this.#isText) pieces.push([this.#single(), true]);
      else if (character === '"' && !this.#isText) pieces.push([this.#double(depth), true]);
      else if (character === '$') pieces.push([this.#dollar(depth), false]);
      else if (character === this.#escape) pieces.push([this.#escaped(), true]);
      else {
        this.#at += 1;
        pieces.push([character, !/\s/.test(character)]);
      }
    }
    return pieces;
  }

  #escaped(): string {
    this.#at += 1;
    // An escape that ends the word stands for itself.
    if (this.#at >= this.#text.length) return this.#escape;
    const character = this.#text[this.#at] ?? '';
    this.#at += 1;
    return this.#isText && character !== '$' && character !== this.#escape ? this.#escape + character : character;
  }

  #single(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end < 0) throw this.#fail('unexpected end of statement while looking for matching single-quote');
    const text = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return text;
  }

  #double(depth: number): string {
    this.#at += 1;
    let text = '';
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at] ?? '';
      if (character === '"') {
        this.#at += 1;
        return text;
      }
      if (character === '$') text += this.#dollar(depth);
      else if (character === this.#escape && ['"', '$', this.#escape].includes(this.#text[this.#at + 1] ?? ''))
        text += this.#escaped();
      else {
        this.#at += 1;
        text += character;
      }
    }
    throw this.#fail('unexpected end of statement while looking for matching double-quote');
  }

  #dollar(depth: number): string {
    this.#at += 1;
    if (this.#text[this.#at] !== '{') {
      const name = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-])/.exec(this.#text.slice(this.#at, this.#at + 256))?.[0];
      if (name === undefined) return '$';
      this.#at += name.length;
      return this.#value(name) ?? '';
    }
    const name = /^[A-Za-z_][A-Za-z0-9_]*|^[0-9]+/.exec(this.#text.slice(this.#at + 1, this.#at + 257))?.[0];
    if (name === undefined) throw this.#fail('bad substitution');
    this.#at += 1 + name.length;
    const [, colon = '', operator = ''] = /^(:?)([-+?}]?)/.exec(this.#text.slice(this.#at, this.#at + 2)) ?? [];
    if (operator === '' || (operator === '}' && colon !== ''))
      throw this.#fail(
        this.#at >= this.#text.length
          ? 'syntax error: missing }'
          : `unsupported modifier (${this.#text.slice(this.#at, this.#at + 1 + colon.length)}) in substitution`,
      );
    this.#at += colon.length + 1;
    if (operator === '}') return this.#value(name) ?? '';
    const word = this.#until('}', depth + 1)
      .map(([text]) => text)
      .join('');
    if (this.#text[this.#at] !== '}') throw this.#fail('syntax error: missing }');
    this.#at += 1;
    return this.#chosen(name, { operator, word, emptyCounts: colon === '' });
  }

  #chosen(
    name: string,
    { operator, word, emptyCounts }: { operator: string; word: string; emptyCounts: boolean },
  ): string {
    const value = this.#value(name);
    const isSet = value !== undefined && (emptyCounts || value !== '');
    if (operator === '+') return isSet ? word : '';
    if (isSet) return value;
    if (operator === '-') return word;
    throw this.#fail(`${name}: ${word === '' ? 'is not set' : word}`);
  }

  #value(name: string): string | undefined {
    const value = this.#variables.get(name);
    this.#length += value?.length ?? 0;
    if (this.#length > LONGEST) throw this.#fail(`it is longer than ${LONGEST} characters once it is expanded`);
    return value;
  }

  #fail(why: string): BuildError {
    return new BuildError(`failed to process ${JSON.stringify(this.#text.slice(0, 200))}: ${why}`);
  }
}
