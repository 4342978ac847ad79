/** Patterns that take no longer than the text is long (RE2), as all that come from clients must. */
import { RE2JS } from '@bufbuild/re2';

const compiled = new Map<string, RE2JS>();

/** Throws what RE2 says of a pattern that is none. */
export function linearPattern(pattern: string): RE2JS {
  let found = compiled.get(pattern);
  if (found === undefined) {
    found = new RE2JS(pattern);
    if (compiled.size >= 1000) compiled.clear();
    compiled.set(pattern, found);
  }
  return found;
}

const ANCHOR_START = 1;
const ANCHOR_BOTH = 2;
/** Beside it no pattern is a mere text, which the package finds in a way of its own, from the beginning alone. */
const NOTHING = String.raw`\z.`;

/**
 * The parts of the text that match, from left to right, as many as `limit` says at most, each as long as it can be. The package tells only
 * whether there is a match; its engine, which is asked in the midst of that question, also tells whether one begins at a place.
 */
export function findAll(pattern: string, text: string, limit = Number.POSITIVE_INFINITY): string[] {
  linearPattern(pattern);
  const re2 = linearPattern(`(?:${pattern})|${NOTHING}`).re2();
  const found: string[] = [];
  const asked: typeof re2 = Object.create(re2);
  asked.executeEngine = (input) => {
    for (let start = 0; start <= text.length && found.length < limit; start++) {
      if (re2.executeEngine(input, start, ANCHOR_START, 0) === null) continue;
      const whole = Object.assign(Object.create(Object.getPrototypeOf(input)), input) as typeof input;
      whole.end = text.length;
      while (whole.end > start && re2.executeEngine(whole, start, ANCHOR_BOTH, 0) === null) whole.end--;
      found.push(text.slice(start, whole.end));
      start = Math.max(start, whole.end - 1);
    }
    return null;
  };
  asked.match(text);
  return found;
}
