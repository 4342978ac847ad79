/** Tells when rules of the packet filter are removed, by `nft monitor` (an event for each change, no polling). */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Whoever flushes rules puts others in their place at once: look when that is done. */
const restMilliseconds = 100;
/** Between a watch that ended and the next one; and until one that was just started surely listens. */
const startMilliseconds = 1000;

export class RuleWatch {
  readonly #isLoss: (line: string) => boolean;
  readonly #onLost: () => void;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * @param isLoss  of a line as nft tells it, such as `delete table inet sampan-one`
   * @param onLost  called once for a burst of removals, and once after each start of the watch, which missed what was before it
   */
  constructor(isLoss: (line: string) => boolean, onLost: () => void) {
    this.#isLoss = isLoss;
    this.#onLost = onLost;
    this.#start();
  }

  #start(): void {
    // It must not outlive this process, however that ends.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'nft', 'monitor', 'destroy'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child = child;
    child.once('error', () => {});
    child.once('close', () => {
      if (!this.#closed) this.#after(startMilliseconds, () => this.#start());
    });
    child.unref();
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (this.#isLoss(line)) this.#after(restMilliseconds, this.#onLost);
    });
    const stream = child.stdout;
    if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
    this.#after(startMilliseconds, this.#onLost);
  }

  #after(milliseconds: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, milliseconds);
    this.#timer.unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#child?.kill();
  }
}
