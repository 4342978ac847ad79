/** Gemfile.lock as far as a build needs it: which gems there are. */
import { existsSync, readFileSync } from 'node:fs';

/** Names, with those that others need. */
export function lockedGems(path = 'Gemfile.lock'): Set<string> {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return new Set([...text.matchAll(/^ {4}([\w.-]+) \(/gm)].map(([, name = '']) => name));
}
