/** A program in a process of its own that is killed with SIGKILL and started again, as often as a test likes. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export class KillableProgram {
  readonly #fixture: string;
  readonly #options: object;
  #child: ChildProcess | undefined;

  /**
   * @param fixture  a file of this folder, which sends one message when it is ready
   * @param options  are JSON in its first argument
   */
  constructor(fixture: string, options: object) {
    this.#fixture = fixture;
    this.#options = options;
  }

  /** Returns at once: it may be killed anywhere on its way up. The one before it must be gone. */
  begin(): ChildProcess {
    this.#child = fork(join(import.meta.dirname, this.#fixture), [JSON.stringify(this.#options)], {
      execArgv: ['--experimental-ffi', '--disable-warning=ExperimentalWarning'],
    });
    return this.#child;
  }

  /** Resolves with its message. @throws Error when it ends before that */
  async start(): Promise<unknown> {
    const child = this.begin();
    const over = new AbortController();
    const { signal } = over;
    const ended = once(child, 'exit', { signal }).then(([code, by]: unknown[]) => {
      throw new Error(`${this.#fixture} ended before it was ready: ${by ?? code}`);
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
