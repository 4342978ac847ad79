import type { Readable, Writable } from 'node:stream';

/** All that comes, as fast as it is taken; `to` stays open. Ends early where nobody takes it any more. */
export async function copy(from: Readable, to: Writable): Promise<void> {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    if (to.destroyed || !to.writable) return;
    if (!to.write(chunk)) await taken(to);
  }
}

async function taken(to: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const events = ['drain', 'close'];
  for (const event of events) to.on(event, resolve);
  await promise;
  for (const event of events) to.off(event, resolve);
}
