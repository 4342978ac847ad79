/** One thing at a time for one key. There is one cloud controller, so this is enough for what must not be interleaved. */
const tails = new Map<string, Promise<unknown>>();

export async function serially<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
  const before = tails.get(key) ?? Promise.resolve();
  const run = before.then(work, work);
  const tail = run.catch(() => undefined);
  tails.set(key, tail);
  try {
    return await run;
  } finally {
    if (tails.get(key) === tail) tails.delete(key);
  }
}
