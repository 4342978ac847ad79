/** Words of an instruction. They keep quotes and escapes, which `expand.ts` takes away. */

/** Split at blanks that are neither quoted nor escaped. */
export function splitWords(text: string, escape: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] ?? '';
    const isBlank = quote === '' && /\s/.test(character);
    if (isBlank) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    word = (word ?? '') + character;
    // A single quote ends at the next one, whatever is before it.
    if (character === escape && quote !== "'" && at + 1 < text.length) {
      at += 1;
      word += text[at] ?? '';
    } else if (quote === '' ? character === '"' || character === "'" : character === quote) {
      quote = quote === '' ? character : '';
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** `--name=value` and `--name` ahead of the rest. */
export function takeFlags(
  text: string,
  escape: string,
): { flags: [name: string, value: string | undefined][]; rest: string } {
  const flags: [string, string | undefined][] = [];
  let rest = text.trimStart();
  while (rest.startsWith('--')) {
    const [word = ''] = splitWords(rest, escape);
    rest = rest.slice(word.length).trimStart();
    if (word === '--') break;
    const equals = word.indexOf('=');
    flags.push(equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), unquoted(word.slice(equals + 1))]);
  }
  return { flags, rest };
}

function unquoted(text: string): string {
  return /^"[^"]*"$|^'[^']*'$/.test(text) ? text.slice(1, -1) : text;
}

/** A JSON list of strings; undefined for anything else, which is then what it looks like. */
export function jsonWords(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((one) => typeof one === 'string') ? (value as string[]) : undefined;
  } catch {
    // Docker reads it as plain words then.
    return undefined;
  }
}

/**
 * `name=value name2="a b"`, or the old form `name the rest`.
 * @returns undefined where a word has no `=`
 */
export function namedValues(text: string, escape: string): [name: string, value: string][] | undefined {
  const words = splitWords(text, escape);
  const [first = ''] = words;
  if (!first.includes('=')) {
    const value = text.slice(first.length).trim();
    return words.length < 2 ? undefined : [[first, value]];
  }
  const pairs: [string, string][] = [];
  for (const word of words) {
    const equals = word.indexOf('=');
    if (equals < 0) return undefined;
    pairs.push([word.slice(0, equals), word.slice(equals + 1)]);
  }
  return pairs;
}
