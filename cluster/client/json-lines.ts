import type { Readable } from 'node:stream';

const newline = 0x0a;

/**
 * Each line of the stream as one buffer, without its newline. Linear also for long lines in many chunks: pieces are
 * joined once, when the line is whole. What follows the last newline is dropped: a server writes whole lines.
 */
export async function* readLines(stream: Readable): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(newline, start);
      if (end < 0) break;
      const rest = chunk.subarray(start, end);
      start = end + 1;
      const line = pieces.length === 0 ? rest : Buffer.concat([...pieces, rest]);
      pieces = [];
      if (line.byteLength > 0) yield line;
    }
    if (start < chunk.byteLength) pieces.push(chunk.subarray(start));
  }
}

export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}
