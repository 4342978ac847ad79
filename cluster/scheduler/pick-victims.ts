import { startOf, type Victims } from './victims.ts';

/** So that two of low priority are never less than one of them. */
const offset = 2 ** 31;

/** The less, the better; the first that differs decides. */
const measures: ((victims: Victims) => number)[] = [
  ({ violations }) => violations,
  ({ pods }) => pods[0]?.priority ?? 0,
  ({ pods }) => pods.reduce((sum, { priority }) => sum + priority + offset, 0),
  ({ pods }) => pods.length,
  // Of the most important ones, who has run longest: the node where that one started last.
  ({ pods }) => -Math.min(...pods.filter(({ priority }) => priority === pods[0]?.priority).map(startOf)),
];

/** Whom to let go: the fewest broken promises, the least important pods, the fewest, the youngest. */
export function pickVictims(candidates: readonly Victims[]): Victims | undefined {
  let left = candidates;
  for (const measure of measures) {
    if (left.length <= 1) break;
    const values = left.map(measure);
    const least = Math.min(...values);
    left = left.filter((_, at) => values[at] === least);
  }
  return left[0];
}
