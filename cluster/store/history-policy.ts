/** Says up to which revision history may be forgotten: a time and a number of revisions, sampled as writes come. */
export interface HistoryLimits {
  /** History older than this goes; default 5 minutes. */
  milliseconds?: number;
  /** More revisions than this are never kept; default 100,000. */
  revisions?: number;
  /** Fewer than this are never left, however old; default none. */
  leastRevisions?: number;
}

/** @param now  milliseconds of a clock that nobody sets */
export function createHistoryPolicy(limits: HistoryLimits, now: () => number = () => performance.now()) {
  const milliseconds = limits.milliseconds ?? 300_000;
  const most = limits.revisions ?? 100_000;
  const least = Math.min(limits.leastRevisions ?? 0, most);
  const step = Math.max(1, Math.min(1000, Math.floor(most / 10)));
  const samples: { time: number; revision: number }[] = [];
  let chosenAt = now();
  /** All up to it is older than the time. */
  let expired = 0;

  return {
    /** Called after commits; returns a revision to compact at when it is worth it. */
    next(revision: number, compacted: number): number | undefined {
      const time = now();
      const newest = samples.at(-1);
      if (!newest || time - newest.time >= milliseconds / 10) samples.push({ time, revision });
      while (samples[0] && time - samples[0].time >= milliseconds) expired = samples.shift()?.revision ?? expired;
      const target = Math.max(revision - most, Math.min(expired, revision - least));
      // Much of it at once, or little once in that time: who pages through a list is told of its age as by etcd.
      const isDue = target - compacted >= step || (target > compacted && time - chosenAt >= milliseconds);
      if (!isDue) return undefined;
      chosenAt = time;
      return target;
    },
  };
}
