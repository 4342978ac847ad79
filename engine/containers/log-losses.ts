/**
 * What a log has lost: how many lines each file had that rotation removed, and how many were thrown away because a file was full and
 * nobody turned it over. A reader that came too late learns from it what it missed. It is a file beside the log, written before the log's
 * file is removed, or before the next one is begun: after a crash in between the file is there still, and counted already.
 * `removeSegments` takes this file away too. What a power failure takes of it is not told.
 */
import type { LogGap } from '../engine.ts';
import type { LineCount } from './log-count.ts';
import { preciseTime } from './log-format.ts';
import { readRecord, writeRecord } from './records.ts';

/** Of one file, in the order in which they were written. */
interface Loss {
  identity: string;
  /** Where the file has gone, with its lines. */
  removed?: LineCount;
  /** Where it was full: what came after it and is in no file. `lines` is an estimate, or 0 where nobody knows. */
  unwritten?: LineCount;
}

/** A reader that is further behind learns of as many. */
const keptEntries = 100;

const indexOf = (logPath: string): string => `${logPath}.removed`;

/** Before the file is removed, which is the oldest of the log. */
export async function noteRemoved(logPath: string, identity: string, removed: LineCount): Promise<void> {
  const losses = await readLosses(logPath);
  const known = losses.find((loss) => loss.identity === identity);
  if (known?.removed !== undefined) return;
  if (known !== undefined) known.removed = removed;
  else {
    // Whatever is told of files that are there was written later.
    const there = losses.findIndex((loss) => loss.removed === undefined);
    losses.splice(there < 0 ? losses.length : there, 0, { identity, removed });
  }
  writeRecord(indexOf(logPath), losses.slice(-keptEntries));
}

/** Before the next file is begun. */
export async function noteUnwritten(logPath: string, identity: string, lines: number): Promise<void> {
  const losses = await readLosses(logPath);
  if (losses.some((loss) => loss.identity === identity && loss.unwritten !== undefined)) return;
  losses.push({ identity, unwritten: { lines, last: new Date().toISOString() } });
  writeRecord(indexOf(logPath), losses.slice(-keptEntries));
}

/** What is missing behind the file `identity`, which was read to its end, up to the next that is there. */
export async function lossesAfter(
  logPath: string,
  { identity, isThere, since }: { identity: string; isThere: boolean; since: number | undefined },
): Promise<LogGap[]> {
  const losses = await readLosses(logPath);
  const index = losses.findLastIndex((loss) => loss.identity === identity);
  const own = losses[index]?.unwritten;
  // Of a file that nobody knows any more, all that is known.
  const gone = isThere ? [] : losses.slice(index + 1).filter(({ removed }) => removed !== undefined);
  return gapsOf(
    gone.flatMap(({ removed }) => removed ?? []),
    [own, ...gone.map(({ unwritten }) => unwritten)].filter((count) => isAsked(count, since)),
  );
}

/** What is missing before the oldest file that is there, of this time (milliseconds) or later: a few lines may be earlier. */
export async function lossesSince(logPath: string, since: number): Promise<LogGap[]> {
  const gone = (await readLosses(logPath)).filter(({ removed }) => removed !== undefined);
  return gapsOf(
    gone.map(({ removed }) => removed).filter((count) => isAsked(count, since)),
    gone.map(({ unwritten }) => unwritten).filter((count) => isAsked(count, since)),
  );
}

function isAsked(count: LineCount | undefined, since: number | undefined): count is LineCount {
  return count !== undefined && (since === undefined || preciseTime(count.last) > since);
}

function gapsOf(removed: LineCount[], unwritten: LineCount[]): LogGap[] {
  const gap = (reason: LogGap['reason'], counts: LineCount[]): LogGap => ({
    reason,
    lines: counts.reduce((sum, { lines }) => sum + lines, 0),
    time: counts.at(-1)?.last ?? '',
  });
  const rotation = gap('rotation', removed);
  return [...(unwritten.length > 0 ? [gap('overrun', unwritten)] : []), ...(rotation.lines > 0 ? [rotation] : [])];
}

async function readLosses(logPath: string): Promise<Loss[]> {
  return (await readRecord(indexOf(logPath), isList)) ?? [];
}

function isList(value: unknown): value is Loss[] {
  const isLoss = (one: unknown): boolean =>
    typeof one === 'object' && one !== null && 'identity' in one && ('removed' in one || 'unwritten' in one);
  return Array.isArray(value) && value.every(isLoss);
}
