/**
 * The log format that conmon writes and Kubernetes reads (CRI): `TIME STREAM TAG TEXT`, where TAG is `F` for a whole line or the
 * last piece of one, and `P` for a piece that is continued.
 */
import type { LogRecord } from '../engine.ts';

const newline = Buffer.from('\n');
const longestLine = 1024 * 1024;
/** RFC 3339 with nanoseconds and a zone has 35. */
const longestTime = 64;

interface Partial {
  time: string;
  pieces: Buffer[];
  length: number;
}

/** Joins pieces by stream. Bytes that are no record are skipped. */
export class LogParser {
  #rest: Buffer = Buffer.alloc(0);
  readonly #partial = new Map<string, Partial>();
  readonly #raw: boolean;
  /** The line before was left out, and is not at its end. */
  #isCut = false;

  /** @param raw  gives every piece by itself, with the newline that ended it */
  constructor(raw = false) {
    this.#raw = raw;
  }

  /** The records that became whole. */
  push(chunk: Buffer): LogRecord[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const records: LogRecord[] = [];
    let start = 0;
    for (let end = bytes.indexOf(10, start); end !== -1; end = bytes.indexOf(10, start)) {
      const record = this.#line(bytes.subarray(start, end));
      if (record !== undefined) records.push(record);
      start = end + 1;
    }
    this.#keep(bytes.subarray(start));
    return records;
  }

  /** Times of the first and the last record that end in this piece; undefined where none does. */
  span(chunk: Buffer): { first: string; last: string } | undefined {
    const end = chunk.lastIndexOf(newline);
    if (end < 0) return undefined;
    const head = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk.subarray(0, longestTime)]);
    const before = chunk.lastIndexOf(newline, end - 1);
    return { first: timeAt(head, 0), last: before < 0 ? timeAt(head, 0) : timeAt(chunk, before + 1) };
  }

  /** Leaves out the records that end in this piece, and says how many lines they are; one whose end comes later is left out whole. */
  skip(chunk: Buffer): number {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    // Times of one writer are of one length, and both streams' names too: the tag is where it is in the first record.
    const tag = bytes.indexOf(32) + ' stdout '.length;
    let lines = 0;
    let start = 0;
    let isCut = this.#isCut;
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
      const isPiece = bytes[start + tag] === 80;
      if (!isCut) lines += 1;
      isCut = isPiece;
      start = end + 1;
    }
    // Of a line that is left out its other pieces would be a line of their own.
    this.#isCut = isCut;
    this.#partial.clear();
    this.#keep(bytes.subarray(start));
    return lines;
  }

  /** What was begun and never ended, where nothing more will come. */
  flush(): LogRecord[] {
    const records: LogRecord[] = [];
    for (const [stream, { time, pieces }] of this.#partial) {
      records.push({ time, stream: stream === 'stderr' ? 'stderr' : 'stdout', line: Buffer.concat(pieces) });
    }
    this.#partial.clear();
    return records;
  }

  /** The file ended where it was full, or the next one is lost: half a record is dropped, and what was begun is a line as it is. */
  cut(): LogRecord[] {
    this.#rest = Buffer.alloc(0);
    this.#isCut = false;
    return this.flush();
  }

  /** Whether the last piece ended within a record. */
  get isWithin(): boolean {
    return this.#rest.length > 0;
  }

  /** The hole of a file that somebody cut short under its writer has no record's end for as long as it is. */
  #keep(rest: Buffer): void {
    this.#rest = rest.length > longestLine ? Buffer.alloc(0) : Buffer.from(rest);
  }

  #line(line: Buffer): LogRecord | undefined {
    const first = line.indexOf(32);
    const second = line.indexOf(32, first + 1);
    const third = line.indexOf(32, second + 1);
    if (first < 1 || second < 0 || third < 0) return undefined;
    const stream = line.toString('latin1', first + 1, second);
    if (stream !== 'stdout' && stream !== 'stderr') return undefined;
    const time = line.toString('latin1', 0, first);
    const text = Buffer.from(line.subarray(third + 1));
    const isPiece = line[second + 1] === 80;
    if (this.#raw) return { time, stream, line: isPiece ? text : Buffer.concat([text, newline]) };
    if (this.#isCut) {
      this.#isCut = isPiece;
      return undefined;
    }
    const partial = this.#partial.get(stream);
    if (!isPiece && partial === undefined) return { time, stream, line: text };
    const joined = partial ?? { time, pieces: [], length: 0 };
    joined.pieces.push(text);
    joined.length += text.length;
    if (isPiece && joined.length < longestLine) {
      this.#partial.set(stream, joined);
      return undefined;
    }
    this.#partial.delete(stream);
    return { time: joined.time, stream, line: Buffer.concat(joined.pieces) };
  }
}

/** How many bytes a record has before its text; undefined where it is none. */
export function recordHead(record: Buffer): number | undefined {
  let end = 0;
  for (let field = 0; field < 3; field += 1) {
    end = record.indexOf(32, end) + 1;
    if (end === 0) return undefined;
  }
  return end;
}

function timeAt(bytes: Buffer, start: number): string {
  const end = bytes.indexOf(32, start);
  return end < 0 || end - start > longestTime ? '' : bytes.toString('latin1', start, end);
}

/** Milliseconds with their fraction, which `Date.parse` drops. */
export function preciseTime(time: string): number {
  const fraction = /\.\d{3}(\d{1,6})/.exec(time)?.[1];
  return Date.parse(time) + (fraction === undefined ? 0 : Number(`0.${fraction}`));
}
