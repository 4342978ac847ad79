/** Frames in the order in which they were asked for, also where some of them take time to be made. */
import type { WatchStream } from './watch-stream.ts';

export class OrderedFrames {
  private readonly stream: WatchStream;
  private readonly onFailure: (error: unknown) => void;
  /** Undefined while nothing is being made. */
  private last: Promise<void> | undefined;

  /** @param onFailure  called once; nothing follows what could not be made */
  constructor(stream: WatchStream, onFailure: (error: unknown) => void) {
    this.stream = stream;
    this.onFailure = onFailure;
  }

  push(frame: Buffer | Promise<Buffer>): void {
    this.after(frame, (made) => this.stream.push(made));
  }

  pushInitial(frame: Buffer | Promise<Buffer>): void {
    this.after(frame, (made) => this.stream.pushInitial(made));
  }

  end(): void {
    this.after(EMPTY, () => this.stream.end());
  }

  private after(frame: Buffer | Promise<Buffer>, use: (frame: Buffer) => void): void {
    if (this.last === undefined && Buffer.isBuffer(frame)) return use(frame);
    const before = this.last ?? Promise.resolve();
    // Its failure is that of the chain, told when its turn comes.
    if (!Buffer.isBuffer(frame)) frame.catch(() => undefined);
    const now = before.then(async () => {
      if (!this.stream.isClosed) use(await frame);
    });
    this.last = now;
    now.catch((error: unknown) => {
      if (this.last === now) this.onFailure(error);
    });
  }
}

const EMPTY = Buffer.alloc(0);
