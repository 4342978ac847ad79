/**
 * Frames on their way to one watcher. Frames are shared buffers, so a queue costs little; but who does not read is
 * dropped: a slow watcher never holds up others, and reconnects from the last revision that it saw.
 */
import type { Responder } from './exchange.ts';
import type { Metrics } from './metrics.ts';

/** Changes waiting beyond the initial ones. */
const QUEUE_LIMIT = 10_000;
const QUEUE_BYTES_LIMIT = 8 * 1024 * 1024;

export class WatchStream {
  private readonly responder: Responder;
  private readonly metrics: Metrics;
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
    this.queue = [];
    this.metrics.watchers--;
  }

  private flush(): void {
    let sent = 0;
    while (!this.blocked && !this.done && sent < this.queue.length) {
      const frame = this.queue[sent++] as Buffer;
      if (this.initial > 0) this.initial--;
      else this.queuedBytes -= frame.length;
      if (!this.responder.write(frame)) this.blocked = true;
    }
    if (sent > 0) this.queue = sent === this.queue.length ? [] : this.queue.slice(sent);
    if (!this.ending || this.queue.length > 0 || this.done) return;
    this.closed();
    this.responder.end();
  }
}
