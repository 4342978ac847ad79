/**
 * Frames on their way to one watcher. Frames are shared buffers, so a queue costs little; but who does not read is
 * dropped: a slow watcher never holds up others, and reconnects from the last revision that it saw. What a watch begins with is
 * made as it is read: of a watcher that reads nothing no more is kept than which objects those are.
 */
import type { Responder } from './exchange.ts';
import type { Metrics } from './metrics.ts';

/** Changes waiting beyond the initial ones. */
const QUEUE_LIMIT = 10_000;
const QUEUE_BYTES_LIMIT = 8 * 1024 * 1024;

export class WatchStream {
  private readonly responder: Responder;
  private readonly metrics: Metrics;
  /** What it begins with; undefined when all of it went. */
  private beginning: Iterator<Buffer> | undefined;
  private queue: Buffer[] = [];
  private queuedBytes = 0;
  private initial = 0;
  private blocked = false;
  private held = false;
  private heldQueue: Buffer[] = [];
  private ending = false;
  private done = false;

  constructor(responder: Responder, metrics: Metrics) {
    this.responder = responder;
    this.metrics = metrics;
    metrics.watchers++;
    responder.onDrain(() => {
      this.blocked = false;
      this.flush();
    });
  }

  get isClosed(): boolean {
    return this.done;
  }

  /** What comes by `push` waits until `release`, behind what comes by `pushInitial`. */
  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    for (const frame of this.heldQueue.splice(0)) this.push(frame);
  }

  /** Before anything else; part of what the watcher asked for, of any number. */
  begin(frames: Iterable<Buffer>): void {
    if (this.done) return;
    this.beginning = frames[Symbol.iterator]();
    this.flush();
  }

  /** Part of what the watcher asked for: it may be any number. */
  pushInitial(frame: Buffer): void {
    if (this.done) return;
    this.initial++;
    this.queue.push(frame);
    this.flush();
  }

  push(frame: Buffer): void {
    if (this.done) return;
    if (this.held) {
      this.heldQueue.push(frame);
      return;
    }
    this.queue.push(frame);
    this.queuedBytes += frame.length;
    this.flush();
    if (this.queue.length - this.initial > QUEUE_LIMIT || this.queuedBytes > QUEUE_BYTES_LIMIT) {
      this.metrics.droppedWatchers++;
      this.responder.destroy();
      this.closed();
    }
  }

  end(): void {
    this.ending = true;
    this.flush();
  }

  closed(): void {
    if (this.done) return;
    this.done = true;
    this.beginning = undefined;
    this.queue = [];
    this.metrics.watchers--;
  }

  private flushBeginning(): void {
    while (this.beginning !== undefined && !this.blocked) {
      const next = this.beginning.next();
      if (next.done === true) this.beginning = undefined;
      else this.blocked = !this.responder.write(next.value);
    }
  }

  private flush(): void {
    this.flushBeginning();
    let sent = 0;
    while (!this.blocked && !this.done && sent < this.queue.length) {
      const frame = this.queue[sent++] as Buffer;
      if (this.initial > 0) this.initial--;
      else this.queuedBytes -= frame.length;
      if (!this.responder.write(frame)) this.blocked = true;
    }
    if (sent > 0) this.queue = sent === this.queue.length ? [] : this.queue.slice(sent);
    if (!this.ending || this.beginning !== undefined || this.queue.length > 0 || this.done) return;
    this.closed();
    this.responder.end();
  }
}
