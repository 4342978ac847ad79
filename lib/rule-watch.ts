/** Tells when rules of the packet filter are removed, by `nft monitor` (an event for each change, no polling). */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { nft } from './nft.ts';

/** Whoever flushes rules puts others in their place at once: look when that is done. */
const restMilliseconds = 100;
/** Between a monitor that ended and the next one. */
const startMilliseconds = 1000;
/**
 * Between the first two knocks at one that was just started; twice as long with each more. A change of the rules makes every nft of the machine that reads
 * them at that moment begin again, those monitors too: instances that knocked on and on would keep each other, and all others, from ever coming to an end.
 */
const knockMilliseconds = 250;
const mostKnockMilliseconds = 30_000;

export interface RuleWatchOptions {
  /**
   * Of a line as nft tells it, such as `delete table inet sampan-one`. Lines come in order, each once; among them what it says of events
   * that it has no words for.
   */
  isLoss: (line: string) => boolean | 'perhaps';
  /**
   * Called once for a burst of removals, and once where some may have been missed: before a monitor listened, or because it could not
   * keep up.
   * @param heard  whether a loss was told for certain; false: look
   */
  onLost: (heard: boolean) => void;
  /** Lines from here on do not follow those before. */
  onBreak?: () => void;
}

export class RuleWatch {
  readonly #options: RuleWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #heard = false;

  constructor(options: RuleWatchOptions) {
    this.#options = options;
    watches.add(this);
    if (monitor === undefined) startMonitor();
    else if (isListening) this.started();
  }

  started(): void {
    this.#options.onBreak?.();
    this.#after(restMilliseconds);
  }

  heard(line: string): void {
    if (line.includes('lost some netlink events')) return this.started();
    const loss = this.#options.isLoss(line);
    if (loss === false) return;
    this.#heard ||= loss === true;
    this.#after(restMilliseconds);
  }

  close(): void {
    clearTimeout(this.#timer);
    watches.delete(this);
    if (watches.size === 0) stopMonitor();
  }

  #after(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const heard = this.#heard;
      this.#heard = false;
      this.#options.onLost(heard);
    }, milliseconds);
    this.#timer.unref();
  }
}

/** One program tells all of a process, whoever they are: it has 5 MB of memory of its own. */
const watches = new Set<RuleWatch>();
let monitor: ChildProcess | undefined;
let isListening = false;
let restart: NodeJS.Timeout | undefined;

function startMonitor(): void {
  clearTimeout(restart);
  isListening = false;
  // It must not outlive this process, however that ends. What it warns of has its place among the lines.
  const program = ['sh', '-c', 'exec nft monitor destroy 2>&1'];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...program], { stdio: ['ignore', 'pipe', 'ignore'] });
  monitor = child;
  child.once('error', () => {});
  child.once('close', () => {
    if (monitor !== child) return;
    restart = setTimeout(startMonitor, startMilliseconds);
    restart.unref();
  });
  child.unref();
  const knock = `sampan-listen-${process.pid}`;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === `delete table inet ${knock}`) return answered(child);
    for (const watch of watches) watch.heard(line);
  });
  const stream = child.stdout;
  if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
  void knockAt(child, knock);
}

/** It does not say when it listens: what it is sure to tell of is done until it does. A table that nobody ever sees. */
async function knockAt(child: ChildProcess, name: string): Promise<void> {
  for (
    let wait = knockMilliseconds;
    monitor === child && !isListening;
    wait = Math.min(wait * 2, mostKnockMilliseconds)
  ) {
    // What keeps nft from working keeps it from being heard.
    await nft(`add table inet ${name}\ndelete table inet ${name}\n`).catch(() => '');
    await delay(wait, undefined, { ref: false });
  }
}

function answered(child: ChildProcess): void {
  if (monitor !== child || isListening) return;
  isListening = true;
  for (const watch of watches) watch.started();
}

function stopMonitor(): void {
  clearTimeout(restart);
  monitor?.kill();
  monitor = undefined;
}
