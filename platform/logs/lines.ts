/** Cuts a pod log with times (`<RFC 3339> <line>`) into lines, and knows how to go on after the connection broke. */
import type { Readable } from 'node:stream';
import { EARLIEST, nanoseconds, toRfc3339 } from './time.ts';

/** Longer lines come in pieces, each its own line to the reader. */
const PIECE = 60 * 1024;

/**
 * How far one stream was read. The API takes a time to begin at, of milliseconds only, and many lines can have one time:
 * lines before `time` are known, and of those at `time` as many as `count`.
 */
export class Cursor {
  time = EARLIEST;
  count = 0;

  get sinceTime(): string | undefined {
    return this.time === EARLIEST ? undefined : toRfc3339(this.time);
  }

  /** Starts a reading from `sinceTime`; the function says whether a line with this time is new. */
  resume(): (time: string) => boolean {
    const { time: from, count: known } = this;
    let repeated = 0;
    return (time) => {
      if (time < from) return false;
      if (time === from && repeated < known) {
        repeated++;
        return false;
      }
      if (time === this.time) this.count++;
      else if (time > this.time) {
        this.time = time;
        this.count = 1;
      }
      return true;
    };
  }
}

/** Reads to the end of the stream. `line` gets each new line, in pieces when it is long. */
export async function readLines(
  stream: Readable,
  cursor: Cursor,
  line: (time: string, payload: Buffer) => void,
): Promise<void> {
  const isNew = cursor.resume();
  let rest: Buffer = Buffer.alloc(0);
  /** Of the line whose first pieces were told: its time, or false when it is known already. */
  let open: string | false | undefined;
  const begin = (data: Buffer): { time: string | false; payload: Buffer } => {
    if (open !== undefined) return { time: open, payload: data };
    const space = data.indexOf(0x20);
    const time = space < 0 ? undefined : nanoseconds(data.toString('latin1', 0, space));
    // Not a line of a log with times: an error text of the server, for instance.
    if (time === undefined) return { time: false, payload: data };
    return { time: isNew(time) && time, payload: data.subarray(space + 1) };
  };
  for await (const chunk of stream) {
    let data = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    for (;;) {
      const end = data.indexOf(0x0a);
      if (end < 0 && data.length <= PIECE) break;
      const whole = end >= 0 && end <= PIECE;
      const { time, payload } = begin(data.subarray(0, whole ? end : PIECE));
      // A copy: the chunk is larger, and would stay in memory with it.
      if (time !== false) line(time, Buffer.from(payload));
      open = whole ? undefined : time;
      data = data.subarray(whole ? end + 1 : PIECE);
    }
    rest = Buffer.from(data);
  }
  if (rest.length > 0 && open !== undefined) {
    if (open !== false) line(open, rest);
  } else if (rest.length > 0) {
    const { time, payload } = begin(rest);
    if (time !== false) line(time, Buffer.from(payload));
  }
}
