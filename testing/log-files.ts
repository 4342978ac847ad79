/** Logs of containers as files, for tests of what writes, turns over and reads them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLog } from '#engine/containers/log-reader.ts';
import type { LogGap, LogOptions } from '#engine/engine.ts';

export async function withLog(body: (path: string, directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-log-'));
  try {
    await body(join(directory, 'container.log'), directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** All that is there, of a container that has ended or (`isEnded`) goes on. */
export async function readWhole(
  path: string,
  { isEnded = true, ...options }: LogOptions & { isEnded?: boolean } = {},
): Promise<{ lines: string[]; gaps: LogGap[] }> {
  const lines: string[] = [];
  const gaps: LogGap[] = [];
  const source = { path, isEnded, ended: Promise.resolve() };
  for await (const { line } of readLog(source, { ...options, onGap: (gap) => gaps.push(gap) }))
    lines.push(String(line));
  return { lines, gaps };
}
