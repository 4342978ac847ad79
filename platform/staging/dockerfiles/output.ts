/** What a classic build says, JSON documents one a line, as lines of a log. */
import { stripVTControlCharacters } from 'node:util';
import { linesOf } from '#lib/lines.ts';
import { StagingError } from '../staging.ts';

const LONGEST_LINE = 16 * 1024;
const KEPT_LINES = 12;
/** A registry's refusal, in the engine's words. */
const REFUSED = /wants a user name and a password|check user name and password|authentication that is not supported/;
/** About variables that no `ARG` asked for: all of the app's are given. */
const UNASKED = /^\[Warning\] One or more build-args /;

interface Said {
  stream?: string;
  status?: string;
  id?: string;
  progressDetail?: { current?: number };
  errorDetail?: { code?: number; message?: string };
  error?: string;
}

/** @throws StagingError where the build did not end well, with its last lines */
export async function tellBuild(body: AsyncIterable<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  const last: string[] = [];
  const end: { failure?: string } = {};
  /** Up to the failure: what was begun by then is a line too. */
  async function* texts(): AsyncGenerator<string> {
    for await (const document of linesOf(body)) {
      if (document.trim() === '') continue;
      const said = JSON.parse(document) as Said;
      if (said.error !== undefined) {
        end.failure = said.errorDetail?.message ?? said.error;
        return;
      }
      yield textOf(said);
    }
  }
  for await (const text of linesOf(texts(), LONGEST_LINE)) {
    const whole = text.trimEnd();
    // Progress that a terminal would write over itself: what stands at the end.
    const line = stripVTControlCharacters(whole.slice(whole.lastIndexOf('\r') + 1)).trimEnd();
    if (UNASKED.test(line)) continue;
    if (line !== '' && last.push(line) > KEPT_LINES) last.shift();
    onLine(line);
  }
  if (end.failure !== undefined) throw failed(end.failure, last);
}

/** Progress of single layers is nothing for a log. */
function textOf({ stream = '', status, id, progressDetail }: Said): string {
  return status === undefined || id !== undefined || progressDetail !== undefined ? stream : `${status}\n${stream}`;
}

function failed(message: string, last: readonly string[]): StagingError {
  const words = last.length === 0 ? '' : `; its last lines:\n${last.join('\n').slice(-2000)}`;
  if (/\(it was killed for want of memory\)/.test(message))
    return new StagingError('out-of-memory', `the build needs more memory than it has: ${message}${words}`);
  if (/no space left on device/i.test(`${message}\n${last.join('\n')}`))
    return new StagingError('disk-full', `the build needs more disk than it has: ${message}${words}`);
  const remedy = REFUSED.test(message) ? ' (cnb-credentials of the manifest gives a login)' : '';
  return new StagingError('build-failed', `${message}${remedy}${words}`);
}
