/** All of a stream in memory, up to a bound: who sends it decides how long it is. */

/** What is read before it is known how much comes. */
const SMALLEST = 4096;
const EMPTY = Buffer.alloc(0);

/**
 * One buffer that grows: of pieces of a few bytes each would take more memory than all that is in it.
 * @param most  bytes
 * @param tooLong  makes the error that is thrown as soon as there are more; the rest is not read
 */
export async function readBounded(
  source: AsyncIterable<Uint8Array>,
  most: number,
  tooLong: () => Error,
): Promise<Buffer> {
  let body: Buffer = EMPTY;
  let size = 0;
  for await (const chunk of source) {
    if (size + chunk.length > most) throw tooLong();
    // Most come in one piece, which need not be copied.
    if (size === 0) body = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    else if (size + chunk.length > body.length) {
      const larger = Buffer.allocUnsafe(Math.min(most, Math.max(2 * (size + chunk.length), SMALLEST)));
      body.copy(larger, 0, 0, size);
      body = larger;
    }
    if (size > 0) body.set(chunk, size);
    size += chunk.length;
  }
  return body.subarray(0, size);
}
