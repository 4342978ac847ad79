/**
 * Names of the content store: one small file for each, all of them in memory. The file's content is the truth; its
 * path is derived from scope and name, made safe, and hashed where it would be too long for the file system.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ASIDE_PREFIX, syncDirectory, writeFileAtomic } from '#lib/atomic-file.ts';
import { isDigest } from '#lib/digest.ts';
import { EngineError } from '../engine.ts';

interface NameRecord {
  scope: string;
  name: string;
  digest: string;
}

export class NameStore {
  readonly #directory: string;
  readonly #scopes = new Map<string, Map<string, string>>();
  /** Of scopes; they are made once and stay. */
  readonly #directories = new Set<string>();
  /** The last write of each file: writes of one name happen in order. */
  readonly #writing = new Map<string, Promise<void>>();

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    for (const scope of readdirSync(directory)) {
      for (const file of readdirSync(join(directory, scope))) this.#load(join(directory, scope, file), file);
    }
  }

  get(scope: string, name: string): string | undefined {
    return this.#scopes.get(scope)?.get(name);
  }

  list(scope: string): { name: string; digest: string }[] {
    const names = [...(this.#scopes.get(scope) ?? [])].map(([name, digest]) => ({ name, digest }));
    return names.sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
  }

  scopes(): string[] {
    return [...this.#scopes.keys()].sort();
  }

  /** What is taken away is not seen from now on; what is given is seen when it is durable. */
  async set(scope: string, name: string, digest: string | undefined): Promise<void> {
    const had = this.get(scope, name);
    if (digest === undefined) this.#forget(scope, name);
    const directory = join(this.#directory, fileName(scope));
    const path = join(directory, fileName(name));
    const before = this.#writing.get(path) ?? Promise.resolve();
    const write = before.then(async () => {
      if (digest === undefined) {
        await this.#remove(path, directory, had === undefined ? undefined : { scope, name, digest: had });
        this.#forget(scope, name);
        return;
      }
      if (this.get(scope, name) === digest) return;
      if (!this.#directories.has(directory)) {
        if ((await mkdir(directory, { recursive: true })) !== undefined) await syncDirectory(this.#directory);
        this.#directories.add(directory);
      }
      await writeFileAtomic(path, JSON.stringify({ scope, name, digest } satisfies NameRecord));
      this.#remember({ scope, name, digest });
    });
    const settled = write.catch(() => undefined);
    this.#writing.set(path, settled);
    try {
      await write;
    } finally {
      if (this.#writing.get(path) === settled) this.#writing.delete(path);
    }
  }

  async #remove(path: string, directory: string, record: NameRecord | undefined): Promise<void> {
    try {
      await rm(path, { force: true });
      if (record !== undefined) await syncDirectory(directory);
    } catch (error) {
      if (record !== undefined) this.#remember(record);
      throw error;
    }
  }

  #load(path: string, file: string): void {
    if (file.startsWith(ASIDE_PREFIX)) {
      rmSync(path, { force: true });
      return;
    }
    const record = parseNameRecord(readFileSync(path, 'utf8'));
    if (record === undefined)
      throw new EngineError('internal', `content store: ${path} is no name record; run sampan engine fsck --repair`);
    this.#remember(record);
  }

  #remember({ scope, name, digest }: NameRecord): void {
    const names = this.#scopes.get(scope) ?? new Map<string, string>();
    names.set(name, digest);
    this.#scopes.set(scope, names);
  }

  #forget(scope: string, name: string): void {
    const names = this.#scopes.get(scope);
    names?.delete(name);
    if (names?.size === 0) this.#scopes.delete(scope);
  }
}

function fileName(text: string): string {
  const safe = encodeURIComponent(text)
    .replace(/^\./, '%2E')
    .replace(/[*'()!~]/g, '_');
  const exact = decodeURIComponent(safe) === text && safe.length <= 200 && safe !== '';
  return exact ? safe : `%%${createHash('sha256').update(text).digest('hex')}`;
}

/** Undefined where the text is no whole record. */
export function parseNameRecord(text: string): NameRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isNameRecord(value) ? value : undefined;
  } catch {
    // Cut short.
    return undefined;
  }
}

function isNameRecord(value: unknown): value is NameRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { scope, name, digest } = value as Partial<NameRecord>;
  return typeof scope === 'string' && typeof name === 'string' && typeof digest === 'string' && isDigest(digest);
}
