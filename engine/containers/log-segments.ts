/** The files of one log: `container.log` is written, `container.log.1` is the newest of the rotated ones, and so on. */
import { type BigIntStats, readdirSync, renameSync, statSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hasCode } from '../sys/libc.ts';

export interface Segment {
  path: string;
  /** Inode and time of birth: the number alone is soon given to a new file. */
  identity: string;
  size: number;
}

/** Oldest first; the one that is written last. */
export async function listSegments(logPath: string): Promise<Segment[]> {
  const prefix = `${basename(logPath)}.`;
  const numbers = (await readdir(dirname(logPath)).catch(orNone))
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length))
    .filter((suffix) => /^[1-9]\d{0,5}$/.test(suffix))
    .map(Number)
    .sort((a, b) => b - a);
  const segments: Segment[] = [];
  for (const path of [...numbers.map((number) => `${logPath}.${number}`), logPath]) {
    const segment = await statSegment(path);
    // A rename under way may show one file under two names.
    if (segment !== undefined && !segments.some(({ identity }) => identity === segment.identity))
      segments.push(segment);
  }
  return segments;
}

export async function statSegment(path: string): Promise<Segment | undefined> {
  try {
    return segmentOf(path, await stat(path, { bigint: true }));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function segmentOf(path: string, info: BigIntStats): Segment {
  return { path, identity: identityOf(info), size: Number(info.size) };
}

export function identityOf({ ino, birthtimeNs }: { ino: bigint; birthtimeNs: bigint }): string {
  return `${ino} ${birthtimeNs}`;
}

/** The same list twice in a row: no rename was under way while it was made. */
export async function listSettledSegments(logPath: string): Promise<Segment[]> {
  const key = (segments: Segment[]): string => segments.map(({ path, identity }) => `${path} ${identity}`).join('\n');
  let segments = await listSegments(logPath);
  for (;;) {
    const again = await listSegments(logPath);
    if (key(again) === key(segments)) return again;
    segments = again;
  }
}

/**
 * Moves every closed segment one on, up to the first number that is free, and makes the written one the first of them. Nothing is at
 * `logPath` after it. Synchronous: a few names change, and nobody here sees the half of it.
 * @returns the one that was written
 */
export function turnOver(logPath: string): Segment {
  const prefix = `${basename(logPath)}.`;
  const names = new Set(readdirSync(dirname(logPath)));
  let free = 1;
  while (names.has(`${prefix}${free}`)) free += 1;
  for (let number = free; number > 1; number -= 1) renameSync(`${logPath}.${number - 1}`, `${logPath}.${number}`);
  const path = `${logPath}.1`;
  renameSync(logPath, path);
  return segmentOf(path, statSync(path, { bigint: true }));
}

/** With what is kept beside them, and what of that was being written when an engine was killed. */
export async function removeSegments(logPath: string): Promise<void> {
  for (const { path } of await listSegments(logPath)) await rm(path, { force: true });
  const prefix = `${basename(logPath)}.removed`;
  for (const name of await readdir(dirname(logPath)).catch(orNone))
    if (name.startsWith(prefix)) await rm(join(dirname(logPath), name), { force: true });
}

function orNone(error: unknown): string[] {
  if (hasCode(error, 'ENOENT')) return [];
  throw error;
}
