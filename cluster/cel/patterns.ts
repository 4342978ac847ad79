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
