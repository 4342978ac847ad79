/**
 * Which builds run: at most so many at once and one for each app. Organizations take turns, and in each its spaces: the
 * next build is of the one that has fewest running, then of the one whose turn was longest ago, oldest first. So nobody's
 * many pushes hold up another's only one, however few run at once.
 */
export interface Waiting {
  guid: string;
  app: string;
  space: string;
  organization: string;
  /** Creation time; ties are broken by guid. */
  since: string;
}

/** Who had a turn when; forgotten with the process, which costs somebody one turn. */
export class LastTurns {
  #count = 0;
  readonly #last = new Map<string, number>();

  note({ space, organization }: Waiting): void {
    this.#count += 1;
    this.#last.set(`organization ${organization}`, this.#count).set(`space ${space}`, this.#count);
  }

  lastOf(kind: 'organization' | 'space', name: string): number {
    return this.#last.get(`${kind} ${name}`) ?? 0;
  }

  /** Those of which nothing waits or runs need not be remembered. */
  forgetAllBut(builds: readonly Waiting[]): void {
    const known = new Set(
      builds.flatMap(({ space, organization }) => [`space ${space}`, `organization ${organization}`]),
    );
    for (const key of this.#last.keys()) if (!known.has(key)) this.#last.delete(key);
  }
}

export function nextBuild(
  waiting: readonly Waiting[],
  running: readonly Waiting[],
  { slots, lastTurns }: { slots: number; lastTurns: LastTurns },
): Waiting | undefined {
  if (running.length >= slots) return undefined;
  const load = (kind: 'organization' | 'space', name: string) => running.filter((build) => build[kind] === name).length;
  const rank = (build: Waiting): (number | string)[] => [
    load('organization', build.organization),
    lastTurns.lastOf('organization', build.organization),
    load('space', build.space),
    lastTurns.lastOf('space', build.space),
    build.since,
    build.guid,
  ];
  const ready = waiting.filter((build) => !running.some(({ app, guid }) => app === build.app || guid === build.guid));
  return ready.toSorted((left, right) => compare(rank(left), rank(right)))[0];
}

function compare(left: readonly (number | string)[], right: readonly (number | string)[]): number {
  const at = left.findIndex((value, index) => value !== right[index]);
  if (at < 0) return 0;
  return (left[at] ?? 0) < (right[at] ?? 0) ? -1 : 1;
}
