/** What a classic build says, JSON documents one a line, as lines of a log. */
import { stripVTControlCharacters } from 'node:util';
import { StagingError } from '../staging.ts';

const LONGEST_LINE = 16 * 1024;
const KEPT_LINES = 12;
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
  const tell = (text: string): void => {
    // Progress that a terminal would write over itself: what stands at the end.
    const line = stripVTControlCharacters(text.slice(text.lastIndexOf('\r') + 1)).trimEnd();
    if (UNASKED.test(line)) return;
    if (line !== '' && last.push(line) > KEPT_LINES) last.shift();
    onLine(line);
  };
  let rest = '';
  for await (const said of documents(body)) {
    if (said.error !== undefined) {
      if (rest !== '') tell(rest);
      throw failed(said.errorDetail?.message ?? said.error, last);
    }
    if (said.status !== undefined && said.id === undefined && said.progressDetail === undefined) tell(said.status);
    rest += (said.stream ?? '').replaceAll('\r\n', '\n');
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) tell(line);
    if (rest.length > LONGEST_LINE) {
      tell(rest);
      rest = '';
    }
  }
  if (rest !== '') tell(rest);
}

function failed(message: string, last: readonly string[]): StagingError {
  const words = last.length === 0 ? '' : `; its last lines:\n${last.join('\n').slice(-2000)}`;
  if (/\(it was killed for want of memory\)/.test(message))
    return new StagingError('out-of-memory', `the build needs more memory than it has: ${message}${words}`);
  if (/no space left on device/i.test(`${message}\n${last.join('\n')}`))
    return new StagingError('disk-full', `the build needs more disk than it has: ${message}${words}`);
  return new StagingError('build-failed', `${message}${words}`);
}

async function* documents(body: AsyncIterable<Uint8Array>): AsyncGenerator<Said> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as Said;
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as Said;
}
