/**
 * Which files of the source a build opens, by inotify(7). Node's own watchers do not tell of it, so the C library is called
 * (`--experimental-ffi`); where that cannot be, nothing is known.
 *
 * The kernel keeps the events until they are taken at the end; where there were more than it keeps, nothing is known either.
 */
import { closeSync, readdirSync, readSync } from 'node:fs';
import { join, relative } from 'node:path';

const IN_OPEN = 0x20;
const IN_Q_OVERFLOW = 0x4000;
const IN_ISDIR = 0x4000_0000;
const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2_000_000;
/** More are not looked at: so large a source gains nothing by being built without a container. */
const MOST_DIRECTORIES = 2000;
const MOST_FILES = 500;

export class OpenedFiles {
  readonly #workspace: string;
  readonly #descriptor: number;
  readonly #directories: ReadonlyMap<number, string>;

  /** Undefined where it cannot be told. */
  static watch(workspace: string): OpenedFiles | undefined {
    const ffi = process.getBuiltinModule('node:ffi');
    const directories = directoriesOf(workspace);
    if (ffi === undefined || directories === undefined) return undefined;
    const { functions } = ffi.dlopen('libc.so.6', {
      inotify_init1: { arguments: ['i32'], return: 'i32' },
      inotify_add_watch: { arguments: ['i32', 'i64', 'u32'], return: 'i32' },
    });
    const descriptor = functions.inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (descriptor < 0) return undefined;
    const watched = new Map<number, string>();
    for (const directory of directories) {
      const path = Buffer.from(`${directory}\0`);
      const watch = functions.inotify_add_watch(descriptor, ffi.getRawPointer(path), IN_OPEN);
      if (watch >= 0) watched.set(watch, directory);
    }
    const all = new OpenedFiles(workspace, descriptor, watched);
    if (watched.size === directories.length) return all;
    closeSync(descriptor);
    return undefined;
  }

  private constructor(workspace: string, descriptor: number, directories: ReadonlyMap<number, string>) {
    this.#workspace = workspace;
    this.#descriptor = descriptor;
    this.#directories = directories;
  }

  /** Relative paths, sorted; undefined where some were lost or there are too many. Ends the watch. */
  take(): string[] | undefined {
    const found = new Set<string>();
    const buffer = Buffer.alloc(64 * 1024);
    let whole = true;
    try {
      for (let length = readSome(this.#descriptor, buffer); length > 0; length = readSome(this.#descriptor, buffer)) {
        for (let at = 0; at < length; ) {
          const mask = buffer.readUInt32LE(at + 4);
          const size = buffer.readUInt32LE(at + 12);
          const directory = this.#directories.get(buffer.readInt32LE(at));
          const name = buffer.toString('utf8', at + 16, at + 16 + size).replace(/\0+$/, '');
          if (mask & IN_Q_OVERFLOW) whole = false;
          // Names of what lies in directories are compared otherwise.
          if (!(mask & IN_ISDIR) && directory !== undefined && name !== '')
            found.add(relative(this.#workspace, join(directory, name)));
          at += 16 + size;
        }
      }
    } finally {
      closeSync(this.#descriptor);
    }
    return whole && found.size <= MOST_FILES ? [...found].sort() : undefined;
  }
}

function readSome(descriptor: number, buffer: Buffer): number {
  try {
    return readSync(descriptor, buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}

function directoriesOf(workspace: string): string[] | undefined {
  const found = [workspace];
  for (let index = 0; index < found.length; index += 1) {
    const directory = found[index] ?? '';
    for (const entry of readdirSync(directory, { withFileTypes: true }))
      if (entry.isDirectory()) found.push(join(directory, entry.name));
    if (found.length > MOST_DIRECTORIES) return undefined;
  }
  return found;
}
