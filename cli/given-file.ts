import { readFileSync } from 'node:fs';
import { getSystemErrorMessage } from 'node:util';
import { CliError } from './errors.ts';

/** The text of a file that somebody named by a flag. */
export function readGivenFile(path: string, remedy: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const { errno, message } = cause as NodeJS.ErrnoException;
    const why = errno === undefined ? message : getSystemErrorMessage(errno);
    throw new CliError(`Cannot read ${JSON.stringify(path)}: ${why}.`, remedy, { cause });
  }
}
