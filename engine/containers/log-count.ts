/** How many lines are in a file of a log, or would have been: counted where there is time, else estimated from a part of it. */
import { type FileHandle, open } from 'node:fs/promises';
import { LogParser, recordHead } from './log-format.ts';

const chunkBytes = 256 * 1024;

export interface LineCount {
  lines: number;
  /** RFC 3339, of the last line; empty where there is none. */
  last: string;
}

/** @param signal  when it fires, what was counted so far stands for the rest */
export async function countLines(path: string, signal: AbortSignal): Promise<LineCount> {
  await using file = await open(path, 'r');
  const buffer = Buffer.alloc(chunkBytes);
  const parser = new LogParser();
  let lines = 0;
  let read = 0;
  /** Up to the end of the last record that was counted. */
  let counted = 0;
  let last = '';
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, read);
    if (bytesRead === 0) return { lines, last };
    const chunk = buffer.subarray(0, bytesRead);
    last = parser.span(chunk)?.last || last;
    lines += parser.skip(chunk);
    const ended = chunk.lastIndexOf(10) + 1;
    if (ended > 0) counted = read + ended;
    read += bytesRead;
    if (!signal.aborted) continue;
    const { size } = await file.stat();
    const tail = await readTail(file, size);
    // Where the file begins with a hole, no record may have ended yet.
    const estimate = counted === 0 ? 0 : Math.round((lines * size) / counted);
    return { lines: estimate, last: new LogParser().span(tail)?.last ?? last };
  }
}

/**
 * How many lines a file would have had more, had all `output` bytes gone into it that its writer read meanwhile: if they were like the
 * last of those that are there.
 */
export async function linesBeyond(path: string, size: number, output: number): Promise<number> {
  await using file = await open(path, 'r');
  const tail = await readTail(file, size);
  const lines = new LogParser().skip(tail);
  const text = textBytes(tail);
  if (lines === 0 || text === 0) return 0;
  const missing = output - (size * text) / tail.length;
  return Math.max(0, Math.round((missing * lines) / text));
}

/** Whole records from the end of a file. */
async function readTail(file: FileHandle, size: number): Promise<Buffer> {
  const start = Math.max(0, size - chunkBytes);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, chunkBytes)), 0, undefined, start);
  const from = start === 0 ? 0 : buffer.indexOf(10) + 1;
  return buffer.subarray(from, buffer.subarray(0, bytesRead).lastIndexOf(10) + 1);
}

/** What the container said of these records: all but what conmon put before each. */
function textBytes(records: Buffer): number {
  let heads = 0;
  for (let start = 0; start < records.length; start = records.indexOf(10, start) + 1) {
    const head = recordHead(records.subarray(start, start + 128));
    if (head === undefined) return 0;
    heads += head;
  }
  return records.length - heads;
}
