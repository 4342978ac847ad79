/** The shell in the container, one request after another. What it answers is measured, not believed. */
import type { Readable, Writable } from 'node:stream';
import type { Client } from '#cluster/client/client.ts';
import type { SshTarget } from '../ssh.ts';
import { encoded, SCRIPT, type Verb } from './script.ts';
import { type Attributes, type Entry, MOST_LISTING_BYTES, SftpError, STATUS } from './sftp.ts';

const PATIENCE = 60_000;
const MOST_ANSWER = MOST_LISTING_BYTES + 64 * 1024;
const END = Buffer.from('\0\0');
/** The longest is `\0\0255\0\0`. */
const TAIL = 8;
const RECORD = /^([0-9a-f]{1,8}) (\d{1,16}) (\d{1,10}) (\d{1,10}) (-?\d{1,12}) (-?\d{1,12})(?: ([^]*))?$/;

interface Answer {
  status: number;
  /** What the programs said, in latin1. */
  text: string;
}

export class ContainerFiles {
  readonly #stdin: Writable;
  readonly #stop: (reason: Error) => void;
  #said: Buffer[] = [];
  #saidBytes = 0;
  #data: Buffer[] = [];
  #dataBytes = 0;
  /** Of the request under way: what `read` may give. */
  #mostData = 0;
  #broken: Error | undefined;
  #wake: () => void = () => undefined;
  /** Where names that are not absolute begin. */
  home = '/';

  private constructor(
    { stdin, stdout, stderr }: { stdin: Writable; stdout: Readable; stderr: Readable },
    stop: (reason: Error) => void,
  ) {
    this.#stdin = stdin;
    this.#stop = stop;
    stdin.on('error', (error) => this.#break(error));
    stdin.on('drain', () => this.#wake());
    stderr.on('data', (chunk: Buffer) => this.#hear(chunk));
    stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    for (const output of [stdout, stderr]) {
      output.on('error', (error) => this.#break(error));
      output.once('end', () => this.#break(new Error('The shell in the container has ended')));
    }
  }

  /** @throws where there is no shell that could do it */
  static async open(options: { client: Client; target: SshTarget; signal: AbortSignal }): Promise<ContainerFiles> {
    const { client, target } = options;
    const gone = new AbortController();
    const session = await client.exec(target.pod, {
      container: target.container,
      command: ['/bin/sh', '-c', SCRIPT],
      stdin: true,
      signal: AbortSignal.any([options.signal, gone.signal]),
    });
    session.exited.catch(() => undefined); // The ends of its outputs say as much.
    const { stdin, stdout, stderr } = session;
    if (stdin === undefined) throw new Error('The session has no input');
    const files = new ContainerFiles({ stdin, stdout, stderr }, (reason) => gone.abort(reason));
    const { text } = await files.#answer();
    files.home = text.trimEnd().split('\n').at(-1) ?? '/';
    return files;
  }

  /** Ends the shell, and what it runs. */
  close(): void {
    this.#break(new Error('It is over'));
  }

  /** @returns what was said where it is done. @throws SftpError where it is not */
  async call(verb: Verb, ...words: (string | number)[]): Promise<string> {
    return said(await this.#ask(verb, words));
  }

  async attributes(verb: 'stat' | 'lstat', path: string): Promise<Required<Attributes>> {
    const entry = entryOf((await this.call(verb, path)).trim());
    if (entry === undefined) throw new SftpError(STATUS.failure, 'What stat says cannot be read');
    return entry.attributes;
  }

  async list(path: string): Promise<Entry[]> {
    const text = await this.call('list', path);
    if (text.length >= MOST_LISTING_BYTES) throw new SftpError(STATUS.failure, 'The directory has too many names');
    const records = text.includes('\0') ? text.split('\0') : text.split('\n');
    return records.flatMap((record) => {
      const entry = entryOf(record);
      if (entry === undefined) return [];
      const name = entry.name.slice(entry.name.lastIndexOf('/') + 1);
      return name === '' || name === '.' || name === '..' ? [] : [{ ...entry, name }];
    });
  }

  /** Shorter at the end of the file, and empty after it. */
  async read(path: string, offset: number, length: number): Promise<Buffer> {
    this.#mostData = length;
    const answer = await this.#ask('read', [path, offset, length]);
    const wanted = Number(/^(\d+) bytes/m.exec(answer.text)?.[1] ?? 0);
    if (wanted > length) throw this.#break(new Error('It gave more than was asked for'));
    await this.#until(() => this.#dataBytes >= wanted);
    const data = Buffer.concat(this.#data);
    if (data.length !== wanted) throw this.#break(new Error('It gave other than it said'));
    this.#data = [];
    this.#dataBytes = 0;
    this.#mostData = 0;
    said(answer);
    return data;
  }

  async write(path: string, offset: number, data: Buffer): Promise<void> {
    said(await this.#ask('write', [path, offset, data.length], data));
  }

  async #ask(verb: Verb, words: (string | number)[], data?: Buffer): Promise<Answer> {
    await this.#send(`${[verb, ...words.map((word) => encoded(String(word)))].join(' ')}\n`);
    if (data !== undefined) await this.#send(data);
    return await this.#answer();
  }

  async #send(bytes: string | Buffer): Promise<void> {
    if (this.#broken) throw this.#broken;
    if (!this.#stdin.write(bytes)) await this.#until(() => !this.#stdin.writableNeedDrain);
  }

  #hear(chunk: Buffer): void {
    this.#said.push(chunk);
    this.#saidBytes += chunk.length;
    if (this.#saidBytes > MOST_ANSWER) this.#break(new Error('It said too much'));
    this.#wake();
  }

  #take(chunk: Buffer): void {
    this.#data.push(chunk);
    this.#dataBytes += chunk.length;
    if (this.#dataBytes > this.#mostData) this.#break(new Error('It gave what nobody asked for'));
    this.#wake();
  }

  async #answer(): Promise<Answer> {
    await this.#until(() => this.#isAnswered());
    const bytes = Buffer.concat(this.#said);
    this.#said = [];
    this.#saidBytes = 0;
    const end = bytes.length - END.length;
    const begin = bytes.lastIndexOf(END, end - 1);
    const status = Number(bytes.toString('latin1', begin + END.length, end));
    return { status, text: bytes.toString('latin1', 0, begin) };
  }

  #isAnswered(): boolean {
    const last = this.#said.at(-1);
    if (last === undefined || last[last.length - 1] !== 0) return false;
    const tail = Buffer.concat(this.#said.slice(-TAIL)).subarray(-TAIL);
    return /\0\0\d{1,3}\0\0$/.test(tail.toString('latin1'));
  }

  /** Resolves when it is so; rejects when the shell is gone, or takes too long. */
  async #until(isSo: () => boolean): Promise<void> {
    const late = setTimeout(() => this.#break(new Error('It does not answer')), PATIENCE);
    try {
      for (;;) {
        if (this.#broken) throw this.#broken;
        if (isSo()) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(late);
    }
  }

  #break(reason: Error): Error {
    if (this.#broken === undefined) {
      this.#broken = reason;
      this.#stop(reason);
      this.#wake();
    }
    return this.#broken;
  }
}

function said({ status, text }: Answer): string {
  if (status === 0) return text;
  const line = text.trimEnd().split('\n').at(-1) ?? '';
  const words = line.slice(line.lastIndexOf(': ') + 1).trim() || 'It failed';
  throw new SftpError(statusOf(line), words.slice(0, 200));
}

/** By the words of the C library and of shells, which are these by `LC_ALL=C`. */
function statusOf(line: string): number {
  if (/No such file|nonexistent/i.test(line)) return STATUS.noSuchFile;
  if (/Permission denied|not permitted|Read-only/i.test(line)) return STATUS.permissionDenied;
  return STATUS.failure;
}

function entryOf(record: string): Entry | undefined {
  const [, mode = '', size, user, group, access, modification, name = ''] = RECORD.exec(record) ?? [];
  if (mode === '') return undefined;
  const attributes = {
    size: Number(size),
    owner: { user: Number(user), group: Number(group) },
    mode: Number.parseInt(mode, 16),
    times: { access: Number(access), modification: Number(modification) },
  };
  return { name, attributes };
}
