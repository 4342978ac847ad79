/**
 * Which builds run: at most so many at once, one for each app, and the next is taken from the space that has fewest
 * running, oldest first, so that nobody's many pushes hold up another's only one.
 */
export interface Waiting {
  guid: string;
  app: string;
  space: string;
  /** Creation time; ties are broken by guid. */
  since: string;
}

export function nextBuild(
  waiting: readonly Waiting[],
  running: readonly Waiting[],
  slots: number,
): Waiting | undefined {
  if (running.length >= slots) return undefined;
  const load = (space: string) => running.filter((build) => build.space === space).length;
  const ready = waiting.filter((build) => !running.some(({ app, guid }) => app === build.app || guid === build.guid));
  return ready.toSorted(
    (left, right) =>
      load(left.space) - load(right.space) || compare(left.since, right.since) || compare(left.guid, right.guid),
  )[0];
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
