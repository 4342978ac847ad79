/** A short name for what an object says, the same however its fields are ordered. */
import { createHash } from 'node:crypto';

const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** With the keys of every object in order. */
export function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, inner]) => [name, sorted(inner)]),
  );
}

/** Ten letters and digits that spell no word. `collisions`: how often another had the name. */
export function stableHash(value: unknown, collisions: number): string {
  const digest = createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .update(`\0${collisions}`)
    .digest();
  return [...digest.subarray(0, 10)].map((byte) => alphabet[byte % alphabet.length]).join('');
}
