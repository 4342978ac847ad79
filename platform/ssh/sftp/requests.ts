/** Requests of clients, each done in the container and answered. */
import type { ContainerFiles } from './container.ts';
import { Handles } from './handles.ts';
import { longName } from './long-name.ts';
import { answers, type Fields, REQUEST } from './packets.ts';
import { type Attributes, LONGEST_PATH, MOST_DATA, MOST_HANDLES, MOST_PACKET, SftpError, STATUS } from './sftp.ts';

/** Section 6.3. */
const OPEN = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 } as const;
const NAMES_AT_ONCE = 100;
const MODE = 0o7777;

export const EXTENSIONS: Record<string, string> = {
  'posix-rename@openssh.com': '1',
  'hardlink@openssh.com': '1',
  'limits@openssh.com': '1',
  'expand-path@openssh.com': '1',
};

type Work = (id: number, fields: Fields) => Promise<Buffer>;

export class Requests {
  readonly #files: ContainerFiles;
  readonly #handles = new Handles();

  constructor(files: ContainerFiles) {
    this.#files = files;
  }

  /** What a request is answered. Rejects where the container is gone. */
  async answer(type: number, id: number, fields: Fields): Promise<Buffer> {
    try {
      const work = this.#works[type];
      if (work === undefined) throw new SftpError(STATUS.unsupported, 'That is not served here');
      return await work(id, fields);
    } catch (error) {
      if (!(error instanceof SftpError)) throw error;
      return answers.status(id, error.status, error.message);
    }
  }

  readonly #works: Record<number, Work> = {
    [REQUEST.open]: (id, fields) => this.#open(id, fields),
    [REQUEST.close]: (id, fields) => this.#close(id, fields),
    [REQUEST.read]: (id, fields) => this.#read(id, fields),
    [REQUEST.write]: (id, fields) => this.#write(id, fields),
    [REQUEST.stat]: async (id, fields) =>
      answers.attributes(id, await this.#files.attributes('stat', this.#path(fields))),
    [REQUEST.lstat]: async (id, fields) =>
      answers.attributes(id, await this.#files.attributes('lstat', this.#path(fields))),
    [REQUEST.fstat]: async (id, fields) =>
      answers.attributes(id, await this.#files.attributes('stat', this.#handles.any(fields.text()).path)),
    [REQUEST.setstat]: async (id, fields) => this.#change(id, this.#path(fields), fields.attributes()),
    [REQUEST.fsetstat]: async (id, fields) => this.#changeOpen(id, fields),
    [REQUEST.opendir]: (id, fields) => this.#openDirectory(id, fields),
    [REQUEST.readdir]: (id, fields) => this.#readDirectory(id, fields),
    [REQUEST.remove]: async (id, fields) => this.#done(id, this.#files.call('remove', this.#path(fields))),
    [REQUEST.rmdir]: async (id, fields) => this.#done(id, this.#files.call('rmdir', this.#path(fields))),
    [REQUEST.mkdir]: async (id, fields) => {
      const [path, { mode = 0o777 }] = [this.#path(fields), fields.attributes()];
      return this.#done(id, this.#files.call('mkdir', path, mode & MODE));
    },
    [REQUEST.realpath]: async (id, fields) => this.#real(id, this.#path(fields)),
    [REQUEST.readlink]: async (id, fields) => {
      const name = await this.#files.call('readlink', this.#path(fields));
      return answers.names(id, [{ name, long: name }]);
    },
    [REQUEST.rename]: async (id, fields) =>
      this.#done(id, this.#files.call('rename', this.#path(fields), this.#path(fields))),
    // OpenSSH's order, which all have taken over: what the link says, then where it is.
    [REQUEST.symlink]: async (id, fields) =>
      this.#done(id, this.#files.call('symlink', nameOf(fields), this.#path(fields))),
    [REQUEST.extended]: (id, fields) => this.#extended(id, fields),
  };

  async #done(id: number, work: Promise<unknown>): Promise<Buffer> {
    await work;
    return answers.status(id, STATUS.ok, 'Success');
  }

  /** Absolute, so that it is no option of a program. */
  #path(fields: Fields): string {
    return this.#absolute(nameOf(fields, { empty: true }));
  }

  #absolute(name: string): string {
    if (name === '' || name === '.') return this.#files.home;
    return name.startsWith('/') ? name : `${this.#files.home.replace(/\/$/, '')}/${name}`;
  }

  async #open(id: number, fields: Fields): Promise<Buffer> {
    const path = this.#path(fields);
    const flags = fields.number();
    const { mode = 0o666 } = fields.attributes();
    const has = (flag: keyof typeof OPEN): boolean => (flags & OPEN[flag]) !== 0;
    if (has('append')) throw new SftpError(STATUS.unsupported, 'Appending is not served here: write at an offset');
    const [reads, writes, creates] = [has('read'), has('write'), has('create')];
    if (!reads && !writes) throw new SftpError(STATUS.failure, 'It must be opened for reading or writing');
    this.#handles.reserve('file');
    const words = [
      reads ? 'r' : '',
      writes ? 'w' : '',
      creates && writes ? 'c' : '',
      creates && writes && has('exclusive') ? 'x' : '',
      writes && has('truncate') ? 't' : '',
    ];
    const said = await this.#files.call('open', path, words.join(''), mode & MODE);
    const seal = said.endsWith('made') && (mode & 0o200) === 0 ? { seal: mode & MODE } : {};
    return answers.handle(id, this.#handles.add({ kind: 'file', path, reads, writes, ...seal }));
  }

  async #close(id: number, fields: Fields): Promise<Buffer> {
    const handle = this.#handles.remove(fields.text());
    if (handle.kind === 'file' && handle.seal !== undefined) await this.#files.call('seal', handle.path, handle.seal);
    return this.#done(id, Promise.resolve());
  }

  async #read(id: number, fields: Fields): Promise<Buffer> {
    const { path } = this.#handles.file(fields.text(), 'reads');
    const [offset, length] = [fields.long(), Math.min(fields.number(), MOST_DATA)];
    if (length === 0) return answers.data(id, Buffer.alloc(0));
    const data = await this.#files.read(path, offset, length);
    return data.length === 0 ? answers.status(id, STATUS.eof, 'End of file') : answers.data(id, data);
  }

  async #write(id: number, fields: Fields): Promise<Buffer> {
    const { path } = this.#handles.file(fields.text(), 'writes');
    const [offset, data] = [fields.long(), fields.bytes()];
    if (data.length > 0) await this.#files.write(path, offset, data);
    return this.#done(id, Promise.resolve());
  }

  async #changeOpen(id: number, fields: Fields): Promise<Buffer> {
    const handle = this.#handles.any(fields.text());
    const attributes = fields.attributes();
    // What is said of its mode now holds when it is closed too.
    if (handle.kind === 'file' && attributes.mode !== undefined) delete handle.seal;
    return this.#change(id, handle.path, attributes);
  }

  async #change(id: number, path: string, { size, owner, mode, times }: Attributes): Promise<Buffer> {
    if (size !== undefined) await this.#files.call('truncate', path, size);
    if (owner !== undefined) await this.#files.call('chown', path, owner.user, owner.group);
    if (mode !== undefined) await this.#files.call('chmod', path, (mode & MODE).toString(8));
    if (times !== undefined) await this.#files.call('times', path, times.access, times.modification);
    return this.#done(id, Promise.resolve());
  }

  async #openDirectory(id: number, fields: Fields): Promise<Buffer> {
    const path = this.#path(fields);
    this.#handles.reserve('directory');
    const entries = await this.#files.list(path);
    return answers.handle(id, this.#handles.add({ kind: 'directory', path, entries }));
  }

  async #readDirectory(id: number, fields: Fields): Promise<Buffer> {
    const { entries } = this.#handles.directory(fields.text());
    if (entries.length === 0) return answers.status(id, STATUS.eof, 'End of directory');
    const now = Date.now();
    const some = entries.splice(0, NAMES_AT_ONCE);
    return answers.names(
      id,
      some.map((entry) => ({ ...entry, long: longName(entry, now) })),
    );
  }

  async #real(id: number, path: string): Promise<Buffer> {
    const name = await this.#files.call('realpath', path).catch((error: unknown) => {
      // The program says nothing of why.
      if (error instanceof SftpError) throw new SftpError(STATUS.noSuchFile, 'No such file or directory');
      throw error;
    });
    return answers.names(id, [{ name, long: name }]);
  }

  async #extended(id: number, fields: Fields): Promise<Buffer> {
    switch (fields.text()) {
      case 'posix-rename@openssh.com':
        return this.#done(id, this.#files.call('replace', this.#path(fields), this.#path(fields)));
      case 'hardlink@openssh.com':
        return this.#done(id, this.#files.call('hardlink', this.#path(fields), this.#path(fields)));
      case 'limits@openssh.com':
        return answers.limits(id, [MOST_PACKET, MOST_DATA, MOST_DATA, MOST_HANDLES]);
      case 'expand-path@openssh.com':
        return this.#real(id, this.#absolute(nameOf(fields, { empty: true }).replace(/^~(?=\/|$)\/?/, '')));
      default:
        throw new SftpError(STATUS.unsupported, 'That is not served here');
    }
  }
}

/** @throws SftpError where no file could be called so */
function nameOf(fields: Fields, { empty = false } = {}): string {
  const name = fields.text();
  if (name.includes('\0') || name.length > LONGEST_PATH || (name === '' && !empty))
    throw new SftpError(STATUS.noSuchFile, 'No file can be called so');
  return name;
}
