/** Processes of this machine, by their command lines. */
import { readFileSync, readdirSync } from 'node:fs';

export interface FoundProcess {
  pid: number;
  /** Its words, with spaces between them. */
  line: string;
}

/** All but this one, and those that end meanwhile. */
export function processesWith(fits: (line: string) => boolean): FoundProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return fits(line) ? [{ pid: Number(pid), line }] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}
