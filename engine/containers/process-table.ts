/** The processes of a container as /proc tells them (proc(5)), without starting ps(1). */
import { readFile } from 'node:fs/promises';
import { hasCode } from '../sys/libc.ts';
import type { ContainerProcess } from '../verbs.ts';

/** USER_HZ and the page size that every architecture of ours has for user space. */
const millisecondsOfTick = 10;
const pageBytes = 4096;

export async function processTable(
  pids: readonly number[],
  range: { first: number; length: number },
): Promise<ContainerProcess[]> {
  const booted = Number(/^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8'))?.[1] ?? 0) * 1000;
  const rows = await Promise.all(pids.map((pid) => processRow(pid, booted, range)));
  return rows.filter((row) => row !== undefined).sort((left, right) => left.pid - right.pid);
}

/** Undefined where it ended meanwhile. */
async function processRow(
  pid: number,
  booted: number,
  range: { first: number; length: number },
): Promise<ContainerProcess | undefined> {
  try {
    const [stat, status, commandLine] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/status`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    const end = stat.lastIndexOf(')');
    const name = stat.slice(stat.indexOf('(') + 1, end);
    // The first of these is the third field of proc(5).
    const fields = stat.slice(end + 2).split(' ');
    const field = (number: number): number => Number(fields[number - 3] ?? 0);
    const inside = (line: string): number => {
      const id = Number(new RegExp(`^${line}:\\s+(?:\\d+\\s+)?(\\d+)`, 'm').exec(status)?.[1] ?? -1) - range.first;
      return id >= 0 && id < range.length ? id : -1;
    };
    const command = commandLine.replace(/\0+$/, '').replaceAll('\0', ' ');
    return {
      pid,
      parent: field(4),
      uid: inside('Uid'),
      gid: inside('Gid'),
      state: fields[0] ?? '?',
      nice: field(19),
      threads: field(20),
      virtualBytes: field(23),
      residentBytes: field(24) * pageBytes,
      startedAt: booted + field(22) * millisecondsOfTick,
      cpuMilliseconds: (field(14) + field(15)) * millisecondsOfTick,
      terminal: terminalName(field(7)),
      name,
      command: command === '' ? `[${name}]` : command,
    };
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

/** A device number as the kernel packs it; pseudo-terminals have the majors 136 to 143. */
function terminalName(device: number): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  return major >= 136 && major <= 143 ? `pts/${(major - 136) * 256 + minor}` : '?';
}
