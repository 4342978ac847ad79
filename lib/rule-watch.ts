/** Tells when rules of the packet filter are removed, by `nft monitor` (an event for each change, no polling). */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Whoever flushes rules puts others in their place at once: look when that is done. */
const restMilliseconds = 100;
/** Between a monitor that ended and the next one; and until one that was just started surely listens. */
const startMilliseconds = 1000;

export class RuleWatch {
  readonly #isLoss: (line: string) => boolean;
  readonly #onLost: () => void;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param isLoss  of a line as nft tells it, such as `delete table inet sampan-one`
   * @param onLost  called once for a burst of removals, and once after the start of a monitor, which missed what was before it
   */
  constructor(isLoss: (line: string) => boolean, onLost: () => void) {
    this.#isLoss = isLoss;
    this.#onLost = onLost;
    watches.add(this);
    if (monitor === undefined) startMonitor();
    else this.started();
  }

  started(): void {
    this.#after(startMilliseconds);
  }

  heard(line: string): void {
    if (this.#isLoss(line)) this.#after(restMilliseconds);
  }

  close(): void {
    clearTimeout(this.#timer);
    watches.delete(this);
    if (watches.size === 0) stopMonitor();
  }

  #after(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#onLost, milliseconds);
    this.#timer.unref();
  }
}

/** One program tells all of a process, whoever they are: it has 5 MB of memory of its own. */
const watches = new Set<RuleWatch>();
let monitor: ChildProcess | undefined;
let restart: NodeJS.Timeout | undefined;

function startMonitor(): void {
  clearTimeout(restart);
  // It must not outlive this process, however that ends.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'nft', 'monitor', 'destroy'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  monitor = child;
  child.once('error', () => {});
  child.once('close', () => {
    if (monitor !== child) return;
    restart = setTimeout(startMonitor, startMilliseconds);
    restart.unref();
  });
  child.unref();
  createInterface({ input: child.stdout }).on('line', (line) => {
    for (const watch of watches) watch.heard(line);
  });
  const stream = child.stdout;
  if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
  for (const watch of watches) watch.started();
}

function stopMonitor(): void {
  clearTimeout(restart);
  monitor?.kill();
  monitor = undefined;
}
