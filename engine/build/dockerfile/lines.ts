/** A Dockerfile's text as logical lines: directives, comments, continuations, heredocs. */
import { BuildError, type Heredoc, type LogicalLine } from './instruction.ts';
import { splitWords } from './words.ts';

/** Of a Dockerfile; the classic builder has no limit, and nobody writes more. */
export const LARGEST_DOCKERFILE = 4 * 1024 * 1024;
const MOST_HEREDOCS = 100;

export function parseError(line: number, why: string): BuildError {
  return new BuildError(`dockerfile parse error on line ${line}: ${why}`);
}

export function logicalLines(source: string): { lines: LogicalLine[]; escape: string } {
  const text = source.startsWith('\ufeff') ? source.slice(1) : source;
  const raw = text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  const escape = directives(raw);
  // Blanks behind the last escape do not undo it.
  const continued = escape === '\\' ? /\\[ \t]*$/ : /`[ \t]*$/;
  const lines: LogicalLine[] = [];
  let at = 0;
  while (at < raw.length) {
    if (isComment(raw[at] ?? '') || (raw[at] ?? '').trim() === '') {
      at += 1;
      continue;
    }
    const first = at;
    const parts: string[] = [];
    for (let isOpen = true; isOpen && at < raw.length; at += 1) {
      const line = raw[at] ?? '';
      if (parts.length > 0 && (isComment(line) || line.trim() === '')) continue;
      isOpen = continued.test(line);
      parts.push(isOpen ? line.replace(continued, '') : line);
    }
    const joined = parts.join('').trim();
    if (joined === '') continue;
    const heredocs = heredocsOf(joined, first + 1, escape);
    for (const heredoc of heredocs) at = readHeredoc(raw, at, heredoc, first + 1);
    lines.push({ line: first + 1, text: joined, heredocs });
  }
  return { lines, escape };
}

function isComment(line: string): boolean {
  return line.trimStart().startsWith('#');
}

/** Only at the very top, before anything else, comments too. @returns the escape character */
function directives(raw: readonly string[]): string {
  const seen = new Set<string>();
  let escape = '\\';
  for (const [index, line] of raw.entries()) {
    const match = /^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/.exec(line);
    const name = match?.[1]?.toLowerCase() ?? '';
    // Others are comments, and end the directives.
    if (!['syntax', 'escape', 'check'].includes(name)) break;
    if (seen.has(name)) throw parseError(index + 1, `only one ${name} parser directive can be used`);
    seen.add(name);
    if (name !== 'escape') continue;
    const value = match?.[2] ?? '';
    if (value !== '\\' && value !== '`') throw parseError(index + 1, `invalid ESCAPE '${value}'. Must be ' or \\`);
    escape = value;
  }
  return escape;
}

/** `RUN`, `COPY` and `ADD` take them, also behind `ONBUILD`, where they are refused when the trigger is read. */
function heredocsOf(text: string, line: number, escape: string): Heredoc[] {
  if (!text.includes('<<')) return [];
  const [instruction = '', ...rest] = text.split(/\s+/);
  const known = ['RUN', 'COPY', 'ADD'];
  const isKnown = known.includes(instruction.toUpperCase());
  if (!isKnown && !(instruction.toUpperCase() === 'ONBUILD' && known.includes((rest[0] ?? '').toUpperCase())))
    return [];
  const heredocs = splitWords(text, escape).flatMap((word) => {
    const heredoc = heredocWord(word);
    return heredoc === undefined ? [] : [heredoc];
  });
  if (heredocs.length > MOST_HEREDOCS) throw parseError(line, `more than ${MOST_HEREDOCS} heredocs`);
  return heredocs;
}

/** `<<EOF`, `<<-EOF`, `<<"EOF"`, perhaps after the number of a descriptor. */
export function heredocWord(word: string): Heredoc | undefined {
  const match = /^\d*<<(-?)([^<]+)$/.exec(word);
  const quoted = match?.[2] ?? '';
  const name = quoted.replace(/['"\\]/g, '');
  if (!/^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/.test(name) || name === '.' || name === '..') return undefined;
  return { name, isExpanded: quoted === name, isTrimmed: match?.[1] === '-', content: '' };
}

/** @returns where the next line is */
function readHeredoc(raw: readonly string[], from: number, heredoc: Heredoc, line: number): number {
  const content: string[] = [];
  for (let at = from; at < raw.length; at += 1) {
    const text = heredoc.isTrimmed ? (raw[at] ?? '').replace(/^\t+/, '') : (raw[at] ?? '');
    if (text === heredoc.name) {
      heredoc.content = content.map((one) => `${one}\n`).join('');
      return at + 1;
    }
    content.push(text);
  }
  throw parseError(line, 'unterminated heredoc');
}
