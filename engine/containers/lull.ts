/** Work that can wait until nothing else is under way: done a moment after the last of it ended; but not put off for ever. */
const REST_MILLISECONDS = 250;
const LONGEST_MILLISECONDS = 2000;

export class Lull {
  readonly #work: () => void;
  #timer: NodeJS.Timeout | undefined;
  /** When the work was wanted, while it waits. */
  #since: number | undefined;
  #under = 0;

  constructor(work: () => void) {
    this.#work = work;
  }

  /** The work is wanted. */
  want(): void {
    this.#since ??= performance.now();
    this.#arm(this.#since);
  }

  /** Something else is under way, until it is disposed of. */
  begin(): Disposable {
    this.#under += 1;
    return {
      [Symbol.dispose]: () => {
        this.#under -= 1;
        if (this.#since !== undefined) this.#arm(this.#since);
      },
    };
  }

  /** Whether something is: work of several steps should stop, and be wanted again. */
  get isDisturbed(): boolean {
    return this.#under > 0;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#since = undefined;
  }

  #arm(since: number): void {
    const left = since + LONGEST_MILLISECONDS - performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#since = undefined;
        this.#work();
      },
      Math.max(0, this.#under > 0 ? left : Math.min(left, REST_MILLISECONDS)),
    );
    this.#timer.unref();
  }
}
