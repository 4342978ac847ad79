/** How a container ended, from what was written down about it while perhaps no engine ran. */
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerExit } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';

export interface EndWitnesses {
  /** Where conmon wrote the exit status. */
  file: string;
  /** conmon's persistent directory: an `oom` file is there when its cgroup ran out of memory. */
  persist: string;
  /** How many of its processes the kernel killed for lack of memory; its cgroup is removed by nobody but us. */
  oomKills: number;
  /** The signal that ended it, 0 for none, where the kernel told. */
  signal?: number | undefined;
}

/**
 * A file has the time of the kernel's last tick before it was written, a hundredth of a second at most. What the container said last
 * must not seem to be later than its end.
 */
const TICK_MILLISECONDS = 10;

/** Undefined where no end was written down. */
export async function readEnd({ file, persist, oomKills, signal }: EndWitnesses): Promise<ContainerExit | undefined> {
  let text: string;
  let at: number;
  try {
    text = (await readFile(file, 'utf8')).trim();
    at = Math.min(Date.now(), Math.ceil((await stat(file)).mtimeMs) + TICK_MILLISECONDS);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  if (text === '') return undefined;
  const code = Number(text) & 255;
  // conmon cannot tell a signal from an exit status above 128. Where the kernel did not either, take its word.
  const known = signal ?? (code > 128 && code <= 128 + 31 ? code - 128 : 0);
  const oomKilled = oomKills > 0 || existsSync(join(persist, 'oom'));
  return { code, ...(known > 0 ? { signal: known } : {}), oomKilled, at };
}
