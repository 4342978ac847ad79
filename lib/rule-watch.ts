/** Tells when rules of the packet filter are removed, by `nft monitor` (an event for each change, no polling). */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Whoever flushes rules puts others in their place at once: look when that is done. */
const restMilliseconds = 100;

export class RuleWatch {
  readonly #child: ChildProcess;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param isLoss  of a line as nft tells it, such as `delete table inet sampan-one`
   * @param onLost  called once for a burst of removals
   */
  constructor(isLoss: (line: string) => boolean, onLost: () => void) {
    // It must not outlive this process, however that ends.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', 'nft', 'monitor', 'destroy'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child.once('error', () => {});
    this.#child.unref();
    if (this.#child.stdout === null) return;
    const lines = createInterface({ input: this.#child.stdout });
    lines.on('line', (line) => {
      if (!isLoss(line)) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(onLost, restMilliseconds);
      this.#timer.unref();
    });
    const stream = this.#child.stdout;
    if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#child.kill();
  }
}
