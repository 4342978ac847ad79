import { createInterface } from 'node:readline/promises';
import { CliError } from './errors.ts';

/** Returns when somebody at the keyboard says yes. @param otherwise  what is said when nothing is done */
export async function confirm(question: string, otherwise: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new CliError(`${question} There is no terminal to ask on.`, 'Say -f when you mean it.');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question(`${question} [yN] `);
  prompt.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(otherwise);
}
