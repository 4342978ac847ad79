/** Rules for names and links of uploaded source. Each refusal names the entry, quoted, and says what to do. */
import { StagingError } from '../staging.ts';

export const limits = {
  /** Unpacked. */
  bytes: 2 * 1024 ** 3,
  files: 200_000,
  /** A single file that would not fit the smallest build disk. */
  fileBytes: 1024 ** 3,
  nameBytes: 4096,
} as const;

export type BitsLimits = { [Name in keyof typeof limits]: number };

export function refuse(name: string, why: string): StagingError {
  return new StagingError('invalid-bits', `entry ${quoted(name)} ${why}`);
}

export function quoted(name: string): string {
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  // JSON leaves DEL and the C1 controls as they are; a terminal would obey them.
  return JSON.stringify(shown).replace(
    /[\u007f-\u009f\u2028\u2029\ufffd]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The relative path without `.` and doubled slashes. @throws StagingError `invalid-bits` */
export function sourcePath(name: string): string {
  if (Buffer.byteLength(name) > limits.nameBytes)
    throw refuse(name, `has a name of more than ${limits.nameBytes} bytes: shorten it`);
  if (/\p{Cc}/u.test(name)) {
    throw refuse(name, 'has a control character in its name: rename it');
  }
  if (name.startsWith('/') || /^[A-Za-z]:[\\/]/.test(name))
    throw refuse(name, 'has an absolute path: paths are relative to the app');
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') throw refuse(name, 'leads out of the app by "..": remove it');
    if (Buffer.byteLength(part) > 255) throw refuse(name, 'has a path component of more than 255 bytes: shorten it');
    // Image layers spell "this file was deleted" by such names.
    if (part.startsWith('.wh.'))
      throw refuse(name, 'has a name that begins with ".wh.", which image layers reserve: rename it');
    parts.push(part);
  }
  if (parts.length === 0) throw refuse(name, 'has an empty name');
  return parts.join('/');
}

/** A link may point to what is in the app, no matter whether it is there. */
export function checkLink(path: string, target: string): void {
  if (target === '' || target.includes('\0') || Buffer.byteLength(target) > limits.nameBytes)
    throw refuse(path, 'is a link without a usable target');
  if (target.startsWith('/')) throw refuse(path, `is a link to ${quoted(target)}, outside the app: make it relative`);
  let depth = path.split('/').length - 1;
  for (const part of target.split('/')) {
    if (part === '..') depth -= 1;
    else if (part !== '' && part !== '.') depth += 1;
    if (depth < 0) throw refuse(path, `is a link to ${quoted(target)}, outside the app: let it stay inside`);
  }
}

/** Paths that were taken, so that nothing is laid over or below a file or a link. */
export class SourceTree {
  readonly #files = new Map<string, 'file' | 'link'>();
  readonly #directories = new Set<string>();

  addDirectory(path: string): void {
    if (this.#files.has(path)) throw refuse(path, 'is both a file and a directory');
    this.#addParents(path);
    this.#directories.add(path);
  }

  addFile(path: string, type: 'file' | 'link'): void {
    if (this.#files.has(path)) throw refuse(path, 'is there twice');
    if (this.#directories.has(path)) throw refuse(path, 'is both a file and a directory');
    this.#addParents(path);
    this.#files.set(path, type);
  }

  has(path: string): boolean {
    return this.#files.has(path);
  }

  directories(): string[] {
    return [...this.#directories];
  }

  #addParents(path: string): void {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = path.slice(0, slash);
      const taken = this.#files.get(parent);
      if (taken === 'link') throw refuse(path, `lies below ${quoted(parent)}, which is a link`);
      if (taken === 'file') throw refuse(path, `lies below ${quoted(parent)}, which is a file`);
      if (this.#directories.has(parent)) return;
      this.#directories.add(parent);
    }
  }
}
