import { Writable } from 'node:stream';
import { WriteStream } from 'node:tty';

/** Writes to a terminal; its end is the end-of-file character, since closing would take the output away too. */
export class TerminalInput extends Writable {
  readonly #output: WriteStream;

  /** @param descriptor  its own: it closes it */
  constructor(descriptor: number) {
    super();
    this.#output = new WriteStream(descriptor);
    // The other side is gone: the exit status tells.
    this.#output.on('error', () => {});
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#output.write(chunk, () => done());
  }

  override _final(done: () => void): void {
    this.#output.write('\u0004', () => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#output.destroy();
    done(error);
  }
}
