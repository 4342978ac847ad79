/** Questions to whoever is at the keyboard. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CliError } from './errors.ts';

interface Question {
  text: string;
  /** What is typed is not shown. */
  hidden?: boolean;
  /** What to do where there is no terminal. */
  remedy: string;
}

export async function ask({ text, hidden = false, remedy }: Question): Promise<string> {
  const { stdin: input, stderr } = process;
  if (!input.isTTY) throw new CliError(`There is no terminal to ask "${text.trim()}" on.`, remedy);
  // With `terminal` it is not the terminal that shows what is typed, but whoever reads it: from here on, so before the question is seen.
  const unseen = { output: new Writable({ write: (_chunk, _encoding, done) => done() }), terminal: true };
  const prompt = createInterface({ input, ...(hidden ? unseen : { output: stderr }) });
  try {
    if (!hidden) return await prompt.question(text);
    stderr.write(text);
    return await prompt.question('');
  } finally {
    prompt.close();
    if (hidden) stderr.write('\n');
  }
}

/** Returns when somebody says yes. @param otherwise  what is said when nothing is done */
export async function confirm(question: string, otherwise: string): Promise<void> {
  const answer = await ask({ text: `${question} [yN] `, remedy: 'Say -f when you mean it.' });
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(otherwise);
}
