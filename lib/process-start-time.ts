import { readFileSync } from 'node:fs';

/**
 * In clock ticks since the boot; with the process id it names a process for ever (proc(5), stat, field 22). Undefined where there is none,
 * or one that has ended and was not waited for: whose parent died too may stay so for as long as the machine runs.
 */
export function processStartTime(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}
