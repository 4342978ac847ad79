/**
 * What rotation took away: how many lines each removed file had, and when its last one was written. A reader that came too late
 * for a file learns from it what it missed. Written before the file is removed: after a crash in between the file is there
 * still, and counted already. `removeSegments` takes this file away too.
 */
import { open, readFile } from 'node:fs/promises';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import type { LogGap } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { LogParser, preciseTime } from './log-format.ts';
import type { Segment } from './log-segments.ts';

interface Removed {
  identity: string;
  lines: number;
  /** RFC 3339, of its last line; empty where it had none. */
  last: string;
}

/** A reader that is further behind learns of as many. */
const keptEntries = 100;
const chunkBytes = 256 * 1024;

const indexOf = (logPath: string): string => `${logPath}.removed`;

/** Before the files of these segments are removed. */
export async function noteRemoved(logPath: string, segments: Segment[]): Promise<void> {
  const known = await readRemoved(logPath);
  const added: Removed[] = [];
  for (const segment of segments) {
    if (known.some(({ identity }) => identity === segment.identity)) continue;
    added.push({ identity: segment.identity, ...(await countLines(segment.path)) });
  }
  if (added.length === 0) return;
  await writeFileAtomic(indexOf(logPath), JSON.stringify([...known, ...added].slice(-keptEntries)), { mode: 0o600 });
}

/** What was written after the removed file `identity`, and is removed too; of one that nobody knows any more, all that is known. */
export async function removedAfter(logPath: string, identity: string): Promise<LogGap | undefined> {
  const removed = await readRemoved(logPath);
  return gapOf(removed.slice(removed.findLastIndex((one) => one.identity === identity) + 1));
}

/** Removed files that have lines of this time (milliseconds) or later: a few of these may be earlier. */
export async function removedSince(logPath: string, since: number): Promise<LogGap | undefined> {
  return gapOf((await readRemoved(logPath)).filter(({ last }) => preciseTime(last) > since));
}

function gapOf(removed: Removed[]): LogGap | undefined {
  const lines = removed.reduce((sum, one) => sum + one.lines, 0);
  return lines === 0 ? undefined : { reason: 'rotation', lines, time: removed.at(-1)?.last ?? '' };
}

async function readRemoved(logPath: string): Promise<Removed[]> {
  try {
    return JSON.parse(await readFile(indexOf(logPath), 'utf8')) as Removed[];
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

async function countLines(path: string): Promise<Omit<Removed, 'identity'>> {
  await using file = await open(path, 'r');
  const buffer = Buffer.alloc(chunkBytes);
  const parser = new LogParser();
  let lines = 0;
  let last = '';
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return { lines, last };
    const chunk = buffer.subarray(0, bytesRead);
    last = parser.span(chunk)?.last || last;
    lines += parser.skip(chunk);
  }
}
