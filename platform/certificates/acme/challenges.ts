/** Answers to challenges of http-01 (RFC 8555, 8.3) under way, and who waits until the router gives them. */
import { AcmeError } from './problem.ts';

const WELL_KNOWN = '/.well-known/acme-challenge/';

export class Challenges {
  #answers: ReadonlyMap<string, string> = new Map();
  #waiting: { path: string; resolve: () => void }[] = [];
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get answers(): ReadonlyMap<string, string> {
    return this.#answers;
  }

  /** The router gives these answers now. */
  served(answers: ReadonlyMap<string, string>): void {
    const [ready, waiting] = [
      this.#waiting.filter(({ path }) => answers.has(path)),
      this.#waiting.filter(({ path }) => !answers.has(path)),
    ];
    this.#waiting = waiting;
    for (const { resolve } of ready) resolve();
  }

  /** Runs the work while the router gives the answer. */
  async during<T>(token: string, answer: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    // It becomes a part of the router's files.
    if (!/^[A-Za-z0-9_-]{1,512}$/.test(token)) throw new AcmeError('protocol', 'a token has characters that none has');
    const path = `${WELL_KNOWN}${token}`;
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
    const stop = (): void => reject(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', stop, { once: true });
    this.#waiting.push({ path, resolve });
    this.#set([...this.#answers, [path, answer]]);
    try {
      await ready;
      return await work();
    } finally {
      signal.removeEventListener('abort', stop);
      this.#waiting = this.#waiting.filter((one) => one.resolve !== resolve);
      this.#set([...this.#answers].filter(([one]) => one !== path));
    }
  }

  #set(answers: Iterable<readonly [string, string]>): void {
    this.#answers = new Map(answers);
    this.#changed();
  }
}
