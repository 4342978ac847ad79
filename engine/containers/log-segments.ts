/** The files of one log: `container.log` is written, `container.log.1` is the newest of the rotated ones, and so on. */
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
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
    const info = await stat(path, { bigint: true });
    return { path, identity: identityOf(info), size: Number(info.size) };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
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
 * Moves every segment one on, and drops those beyond `maxFiles`, the written one included. Nothing is at `logPath` after it.
 * @param beforeRemoval  is given those that go
 */
export async function shiftSegments(
  logPath: string,
  maxFiles: number,
  beforeRemoval: (segments: Segment[]) => Promise<void> = async () => {},
): Promise<void> {
  const prefix = `${basename(logPath)}.`;
  const kept = Math.max(1, maxFiles - 1);
  const going = (await listSegments(logPath)).filter(
    ({ path }) => path !== logPath && Number(basename(path).slice(prefix.length)) >= kept,
  );
  if (going.length > 0) await beforeRemoval(going);
  for (const { path } of going) await rm(path, { force: true });
  for (let number = kept - 1; number >= 0; number -= 1) {
    const from = number === 0 ? logPath : `${logPath}.${number}`;
    await rename(from, `${logPath}.${number + 1}`).catch(orNone);
  }
}

export async function removeSegments(logPath: string): Promise<void> {
  for (const { path } of await listSegments(logPath)) await rm(path, { force: true });
  await rm(`${logPath}.removed`, { force: true });
}

function orNone(error: unknown): string[] {
  if (hasCode(error, 'ENOENT')) return [];
  throw error;
}
