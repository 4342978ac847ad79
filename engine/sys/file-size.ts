/** How large a file another process may write: RLIMIT_FSIZE of prlimit(2). */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { hasCode, syscall } from './libc.ts';

/** `struct rlimit64`: soft and hard. */
const LENGTH = 16;
const RLIMIT_FSIZE = 1;
const NONE = 0xffff_ffff_ffff_ffffn;

/**
 * From now on every write of the process beyond so many bytes of a file fails with EFBIG. Only where it ignores SIGXFSZ: the signal
 * would end it. One that has a limit keeps it, and so do the processes that it has started already.
 * @returns whether it has a limit now
 */
export function limitFileSize(pid: number, bytes: number): boolean {
  try {
    const limit = Buffer.alloc(LENGTH);
    syscall('prlimit64', pid, RLIMIT_FSIZE, null, limit);
    if (limit.readBigUInt64LE(0) !== NONE) return true;
    if (!ignores(pid, constants.signals.SIGXFSZ)) return false;
    limit.writeBigUInt64LE(BigInt(bytes), 0);
    limit.writeBigUInt64LE(BigInt(bytes), 8);
    syscall('prlimit64', pid, RLIMIT_FSIZE, limit, null);
    return true;
  } catch (error) {
    // It has ended.
    if (hasCode(error, 'ESRCH', 'ENOENT')) return false;
    throw error;
  }
}

function ignores(pid: number, signal: number): boolean {
  const set = /^SigIgn:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${set}`) >> BigInt(signal - 1)) & 1n) === 1n;
}
