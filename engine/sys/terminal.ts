/** A pseudo-terminal: the master for us, the slave for a program (pty(7), ioctl_tty(2)). */
import { closeSync, constants, openSync } from 'node:fs';
import { syscall } from './libc.ts';

const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;

export interface Terminal {
  master: number;
  slave: number;
}

export function openTerminal(size: { columns: number; rows: number }): Terminal {
  const flags = constants.O_RDWR | constants.O_NOCTTY;
  const master = openSync('/dev/ptmx', flags);
  try {
    syscall('ioctl', master, TIOCSPTLCK, Buffer.alloc(4));
    const number = Buffer.alloc(4);
    syscall('ioctl', master, TIOCGPTN, number);
    resizeTerminal(master, size);
    return { master, slave: openSync(`/dev/pts/${number.readUInt32LE(0)}`, flags) };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

export function resizeTerminal(master: number, { columns, rows }: { columns: number; rows: number }): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(clamp(rows), 0);
  size.writeUInt16LE(clamp(columns), 2);
  syscall('ioctl', master, TIOCSWINSZ, size);
}

function clamp(value: number): number {
  return Math.max(1, Math.min(65_535, Math.trunc(value) || 1));
}
