/** What a client has open: names, and how they were opened. The files themselves are opened by each request, in the container. */
import { type Entry, MOST_HANDLES, MOST_LISTINGS, SftpError, STATUS } from './sftp.ts';

export interface FileHandle {
  kind: 'file';
  path: string;
  reads: boolean;
  writes: boolean;
  /** The mode that it gets when it is closed. */
  seal?: number;
}

export interface DirectoryHandle {
  kind: 'directory';
  path: string;
  /** Those that were not told yet. */
  entries: Entry[];
}

export class Handles {
  readonly #all = new Map<string, FileHandle | DirectoryHandle>();
  #last = 0;

  /** Before what it costs. @throws SftpError where there are too many */
  reserve(kind: 'file' | 'directory'): void {
    const listings = [...this.#all.values()].filter((handle) => handle.kind === 'directory').length;
    if (this.#all.size >= MOST_HANDLES || (kind === 'directory' && listings >= MOST_LISTINGS))
      throw new SftpError(STATUS.failure, 'Too many are open');
  }

  add(handle: FileHandle | DirectoryHandle): string {
    const name = String(++this.#last);
    this.#all.set(name, handle);
    return name;
  }

  any(name: string): FileHandle | DirectoryHandle {
    const found = this.#all.get(name);
    if (found === undefined) throw new SftpError(STATUS.failure, 'There is no such handle');
    return found;
  }

  file(name: string, right: 'reads' | 'writes'): FileHandle {
    const found = this.any(name);
    if (found.kind !== 'file' || !found[right]) throw new SftpError(STATUS.failure, `It was not opened for that`);
    return found;
  }

  directory(name: string): DirectoryHandle {
    const found = this.any(name);
    if (found.kind !== 'directory') throw new SftpError(STATUS.failure, 'It is no directory');
    return found;
  }

  remove(name: string): FileHandle | DirectoryHandle {
    const found = this.any(name);
    this.#all.delete(name);
    return found;
  }
}
