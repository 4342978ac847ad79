/** A program in a process of its own that is killed with SIGKILL and started again, as often as a test likes. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export class KillableProgram {
  readonly #fixture: string;
  readonly #options: object;
  readonly #hear: ((text: string) => void) | undefined;
  #child: ChildProcess | undefined;

  /**
   * @param fixture  a file of this folder, which sends one message when it is ready
   * @param options  are JSON in its first argument
   * @param hear  what it writes to its standard error, which is this program's otherwise
   */
  constructor(fixture: string, options: object, hear?: (text: string) => void) {
    this.#fixture = fixture;
    this.#options = options;
    this.#hear = hear;
  }

  /** Returns at once: it may be killed anywhere on its way up. The one before it must be gone. */
  begin(): ChildProcess {
    this.#child = fork(join(import.meta.dirname, this.#fixture), [JSON.stringify(this.#options)], {
      execArgv: ['--experimental-ffi', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'inherit', this.#hear === undefined ? 'inherit' : 'pipe', 'ipc'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#hear?.(text));
    return this.#child;
  }

  /** Resolves with its message. @throws Error when it ends before that */
  start(): Promise<unknown> {
    return this.#answerOf(this.begin());
  }

  /** Resolves with the message that it sends after this one. @throws Error when it ends before that */
  async ask(question: object): Promise<unknown> {
    if (this.#child === undefined) throw new Error(`${this.#fixture} was not started`);
    const answer = this.#answerOf(this.#child);
    this.#child.send(question);
    return answer;
  }

  async #answerOf(child: ChildProcess): Promise<unknown> {
    const over = new AbortController();
    const { signal } = over;
    const ended = once(child, 'exit', { signal }).then(([code, by]: unknown[]) => {
      throw new Error(`${this.#fixture} ended before it answered: ${by ?? code}`);
    });
    try {
      const [message] = await Promise.race([once(child, 'message', { signal }), ended]);
      return message;
    } finally {
      over.abort();
    }
  }

  /** Resolves when it is gone; at once where it is. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
