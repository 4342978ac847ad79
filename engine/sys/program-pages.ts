/** The pages of this process's program file that are in its memory. */
import { readFileSync } from 'node:fs';
import { syscall } from './libc.ts';

const MADV_DONTNEED = 4;

interface Mapping {
  start: bigint;
  bytes: number;
  path: string;
  /** KiB that were written to, and are no longer what the file has. */
  changed: number;
}

/**
 * Lets go of all of them: those that are needed come back from the kernel's cache of the file, and those of the start, half of all, do not.
 * Mappings with pages that were written to, as the linker does, are left alone: what was written would be lost.
 */
export function releaseProgramPages(): void {
  for (const { start, bytes, path, changed } of mappings()) {
    if (path === process.execPath && changed === 0) syscall('madvise', start, bytes, MADV_DONTNEED);
  }
}

/** As proc_pid_smaps(5) tells them. */
function mappings(): Mapping[] {
  const found: Mapping[] = [];
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$/.exec(line);
    if (head !== null) {
      const [start, end] = [BigInt(`0x${head[1]}`), BigInt(`0x${head[2]}`)];
      found.push({ start, bytes: Number(end - start), path: head[3] ?? '', changed: 0 });
    }
    const changed = /^Anonymous: +(\d+) kB$/.exec(line)?.[1];
    const last = found.at(-1);
    if (changed !== undefined && last !== undefined) last.changed = Number(changed);
  }
  return found;
}
