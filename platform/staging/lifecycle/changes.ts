/** What changed since a moment, by the file system's own times. */
import { spawnSync } from 'node:child_process';

/**
 * True when no file or directory was made, changed or removed: each of these sets some change time. Where links at the
 * top are `added`, the directory itself may have changed: the caller compares its names.
 */
export function unchangedSince(directory: string, marker: string, added: readonly string[] = []): boolean {
  const skip = added.flatMap((name) => ['-path', `${directory}/${name}`, '-prune', '-o']);
  const depth = added.length > 0 ? ['-mindepth', '1'] : [];
  const words = [directory, ...depth, ...skip, '-cnewer', marker, '-print', '-quit'];
  const found = spawnSync('find', words, { encoding: 'utf8' });
  return found.status === 0 && found.stdout === '';
}
