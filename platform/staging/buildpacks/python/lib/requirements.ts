/** requirements.txt as far as the cache needs it: which files belong to it, and whether it says exactly what is installed. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface Requirements {
  /** With those that are included by `-r` and `-c`. */
  files: string[];
  /** Every line names one version, or a file by its hash: the same text, the same packages. */
  pinned: boolean;
}

export function readRequirements(path: string): Requirements {
  const found: Requirements = { files: [], pinned: true };
  collect(normalize(path), found);
  return found;
}

function collect(path: string, found: Requirements): void {
  if (found.files.includes(path) || !existsSync(path)) return;
  found.files.push(path);
  const text = readFileSync(path, 'utf8').replaceAll(/\\\r?\n/g, ' ');
  for (const line of text.split(/\r?\n/).map((each) => each.replace(/(^|\s)#.*/, '').trim())) {
    const included = /^(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)$/.exec(line)?.[1];
    if (included !== undefined) collect(normalize(join(dirname(path), included)), found);
    else if (line !== '' && !isExact(line)) found.pinned = false;
  }
}

function isExact(line: string): boolean {
  if (/^(-e|--editable)\b/.test(line)) return false;
  if (line.startsWith('-') || line.includes('--hash=')) return true;
  return /^[\w.-]+\s*(\[[^\]]*\])?\s*={2,3}\s*[^\s,;*]+\s*(;.*)?$/.test(line);
}
