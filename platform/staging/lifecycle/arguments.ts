/** Words of command lines. */
import { AppError } from './words.ts';

/**
 * A line of options as users write them into a variable: parted at spaces, quotes and backslashes as in a shell; nothing else
 * means anything.
 * @param variable  for the message
 * @throws AppError where a quote is not closed
 */
export function splitArguments(line: string, variable: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let index = 0; index < line.length; index += 1) {
    const character = line[index] ?? '';
    if (character === '\\' && quote !== "'") {
      index += 1;
      word = (word ?? '') + (line[index] ?? '');
    } else if (quote === '' ? `"'`.includes(character) : character === quote) {
      quote = quote === '' ? character : '';
      word ??= '';
    } else if (quote === '' && /\s/.test(character)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else word = (word ?? '') + character;
  }
  if (quote !== '') throw new AppError(`${variable} has a ${quote} that is not closed: ${JSON.stringify(line)}`);
  return word === undefined ? found : [...found, word];
}

/** As a shell reads it back. */
export function shellWord(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
