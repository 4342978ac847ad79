/** A build that asks for runtimes is done again with them; what the last build of the app used is there from the start. */
import type { BuildResult } from '../lifecycle/protocol.ts';
import type { Runtime } from '../runtimes/runtimes.ts';
import { StagingError } from '../staging.ts';

/** One to detect, one more for what shows itself on the way, and some for a group of several buildpacks. */
const MOST_ROUNDS = 5;

export interface RuntimeRounds {
  /** Names. */
  last: readonly string[];
  provide: (names: readonly string[]) => Promise<Runtime[]>;
  run: (mounted: readonly Runtime[]) => Promise<BuildResult>;
  /** Before it is run again. */
  clear: () => Promise<void>;
}

/** @returns the result, and the runtimes that it names */
export async function withRuntimes(rounds: RuntimeRounds): Promise<{ result: BuildResult; runtimes: Runtime[] }> {
  // What was offered once may be so no longer, which is no fault: the build itself says what it wants.
  let mounted = await rounds.provide(rounds.last).catch(() => []);
  for (let round = 1; round <= MOST_ROUNDS; round += 1) {
    const result = await rounds.run(mounted);
    const runtimes = mounted.filter(({ name }) => result.runtimes.includes(name));
    const missing = result.runtimes.filter((name) => !mounted.some((each) => each.name === name));
    if (missing.length === 0) return { result, runtimes };
    // With those that are there already: a build may ask for one after the other.
    mounted = await rounds.provide([...new Set([...mounted.map(({ name }) => name), ...missing])]);
    await rounds.clear();
  }
  throw new StagingError('build-failed', `the build asked for other runtimes ${MOST_ROUNDS} times`);
}
