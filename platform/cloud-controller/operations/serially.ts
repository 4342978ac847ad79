import { TurnsByKey } from '#lib/turns.ts';

const turns = new TurnsByKey();

/** One thing at a time for one key. There is one cloud controller, so this is enough for what must not be interleaved. */
export function serially<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
  return turns.take(key, work);
}
