/** In milliseconds. Node takes a timer that is longer for one of no time at all. */
const LONGEST = 2 ** 31 - 1;

/** For `setTimeout`, `delay` and `AbortSignal.timeout`: as long as it is asked for, or else for twenty-four days. */
export function timerOf(milliseconds: number): number {
  return Math.min(LONGEST, Math.max(0, Math.ceil(milliseconds)));
}
