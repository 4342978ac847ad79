/** A pseudo-terminal: the master for us, the slave for a program (pty(7), ioctl_tty(2)). */
import { closeSync, constants, openSync } from 'node:fs';
import { syscall } from './libc.ts';

const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;

const TCGETS = 0x5401;
const TCSETS = 0x5402;

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
    makeRaw(master);
    return { master, slave: openSync(`/dev/pts/${number.readUInt32LE(0)}`, flags) };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** Bytes pass as they are (cfmakeraw(3)): whatever is behind the slave has a terminal of its own that edits and echoes. */
function makeRaw(terminal: number): void {
  // struct termios: iflag, oflag, cflag, lflag (u32 each), line, then the control characters.
  const settings = Buffer.alloc(64);
  syscall('ioctl', terminal, TCGETS, settings);
  const change = (offset: number, clear: number, set = 0): void => {
    settings.writeUInt32LE(((settings.readUInt32LE(offset) & ~clear) | set) >>> 0, offset);
  };
  change(0, 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100 | 0x400);
  change(4, 0x1);
  change(8, 0x30 | 0x100, 0x30);
  change(12, 0x1 | 0x2 | 0x8 | 0x40 | 0x8000);
  settings.writeUInt8(0, 17 + 5);
  settings.writeUInt8(1, 17 + 6);
  syscall('ioctl', terminal, TCSETS, settings);
}

/** Another descriptor for the same terminal, to be closed on its own. */
export function duplicateTerminal(master: number): number {
  const duplicateCloseOnExec = 1030;
  return syscall('fcntl', master, duplicateCloseOnExec, 0);
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
