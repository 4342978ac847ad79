import type { Readable, Writable } from 'node:stream';
import { drained } from '#lib/drained.ts';

/** All that comes, as fast as it is taken; `to` stays open. Ends early where nobody takes it any more. */
export async function copy(from: Readable, to: Writable): Promise<void> {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    if (to.destroyed || !to.writable) return;
    if (!to.write(chunk)) await drained(to);
  }
}
