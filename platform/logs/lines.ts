/** Cuts a log as a collector reads it (`<RFC 3339> stdout|stderr <line>`, `<RFC 3339> node <number> <line>`) into lines, and knows how to go on after the connection broke. */
import type { Readable } from 'node:stream';
import { EARLIEST, nanoseconds, toRfc3339 } from '../time.ts';

/** Longer lines come in pieces, each its own line to the reader. */
const PIECE = 60 * 1024;

/** `node`: what the collector says of lines that are missing. */
export type LineStream = 'stdout' | 'stderr' | 'node';

/**
 * How far a log was read. The API takes a time to begin at, of milliseconds only, and many lines can have one time:
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

/** @param missing  of `node`: how many lines the line stands for */
type OnLine = (time: string, stream: LineStream, payload: Buffer, missing: number) => void;

interface Begun {
  time: string;
  stream: LineStream;
  missing: number;
}

/** Reads to the end of the stream. `line` gets each new line, in pieces when it is long. */
export async function readLines(stream: Readable, cursor: Cursor, line: OnLine): Promise<void> {
  const isNew = cursor.resume();
  let rest: Buffer = Buffer.alloc(0);
  /** Of the line whose first pieces were told; false when it is known already. */
  let open: Begun | false | undefined;
  const tell = (data: Buffer): Begun | false => {
    const { begun, payload } = open === undefined ? begin(data, isNew) : { begun: open, payload: data };
    // A copy: the chunk is larger, and would stay in memory with it.
    if (begun !== false) line(begun.time, begun.stream, Buffer.from(payload), begun.missing);
    return begun;
  };
  for await (const chunk of stream) {
    let data = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    for (;;) {
      const end = data.indexOf(0x0a);
      if (end < 0 && data.length <= PIECE) break;
      const whole = end >= 0 && end <= PIECE;
      const begun = tell(data.subarray(0, whole ? end : PIECE));
      open = whole ? undefined : begun;
      data = data.subarray(whole ? end + 1 : PIECE);
    }
    rest = Buffer.from(data);
  }
  if (rest.length > 0) tell(rest);
}

function begin(data: Buffer, isNew: (time: string) => boolean): { begun: Begun | false; payload: Buffer } {
  const first = data.indexOf(0x20);
  const second = data.indexOf(0x20, first + 1);
  const time = first < 0 || second < 0 ? undefined : nanoseconds(data.toString('latin1', 0, first));
  const stream = time === undefined ? undefined : streamOf(data.toString('latin1', first + 1, second));
  // Not a line of a collected log: an error text of the server, for instance.
  if (time === undefined || stream === undefined) return { begun: false, payload: data };
  if (stream !== 'node')
    return { begun: isNew(time) && { time, stream, missing: 0 }, payload: data.subarray(second + 1) };
  const third = data.indexOf(0x20, second + 1);
  const missing = Number(data.toString('latin1', second + 1, third));
  return { begun: { time, stream, missing }, payload: data.subarray(third + 1) };
}

function streamOf(word: string): LineStream | undefined {
  return word === 'stdout' || word === 'stderr' || word === 'node' ? word : undefined;
}

/** What wrote lines gives one time to all that it read at once: 8 KiB at most, so that many lines. */
export const LONGEST_GROUP = 8192;

/**
 * Lines of one time are told apart by their place among them. The last so many lines may begin in the middle of some: these are
 * left out, or they would have other times than when they are read from their beginning.
 */
export function withoutCutGroup<T extends { timestamp: string }>(tail: T[], asked: number): T[] {
  if (tail.length < asked) return tail;
  const next = tail.findIndex(({ timestamp }) => timestamp !== tail[0]?.timestamp);
  return next < 0 ? [] : tail.slice(next);
}
