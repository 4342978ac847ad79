/**
 * How much disk a log takes.
 *
 * Its size is `maxBytes * maxFiles`: the last so many bytes are kept. The engine turns the written file over when that has reached
 * `maxBytes`, within a fraction of a second. When the engine is away, or gets no processor time, nobody does; then the kernel holds the
 * writer back (RLIMIT_FSIZE): the file that is written ends at `mostFileBytes`, what comes after is thrown away by conmon, and the
 * container goes on. So a log never takes more than its size and three such files; in all but the worst moment it is one.
 * Why: docs/decisions/0028-the-kernel-bounds-logs.md.
 */
import type { Segment } from './log-segments.ts';

export interface LogSize {
  maxBytes: number;
  maxFiles: number;
}

/** What a fast writer needs between two looks, with room for a busy machine: a small log must not lose its end for being small. */
const LEAST_FILE = 64 * 1024 * 1024;

/** Where the file ends that is written. One of exactly this size was cut off. */
export function mostFileBytes({ maxBytes, maxFiles }: LogSize): number {
  return Math.min(Math.max(2 * maxBytes * maxFiles, LEAST_FILE), Number.MAX_SAFE_INTEGER);
}

/** Of closed files, oldest first, those that a log of this size needs no more; the newest one stays in any case. */
export function surplus(closed: readonly Segment[], { maxBytes, maxFiles }: LogSize): Segment[] {
  const files = Math.max(1, maxFiles - 1);
  let bytes = 0;
  let kept = 0;
  for (let index = closed.length - 1; index >= 0 && kept < files && bytes < maxBytes * files; index -= 1) {
    bytes += closed[index]?.size ?? 0;
    kept += 1;
  }
  return closed.slice(0, closed.length - kept);
}
