import type { Entry } from './sftp.ts';

const TYPES: Record<number, string> = { 1: 'p', 2: 'c', 4: 'd', 6: 'b', 8: '-', 10: 'l', 12: 's' };
const HALF_A_YEAR = 182 * 86_400;

/** A line as `ls -l` writes it, which clients show: the protocol recommends no other form. How many links there are is not known. */
export function longName({ name, attributes }: Entry, now: number): string {
  const { mode, owner, size, times } = attributes;
  const rights = [6, 3, 0].map((shift) => {
    const bits = (mode >> shift) & 7;
    return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`;
  });
  // Wed, 26 Nov 2026 11:24:18 GMT
  const [, day = '', month = '', year = '', time = ''] = new Date(times.modification * 1000).toUTCString().split(' ');
  const isRecent = Math.abs(now / 1000 - times.modification) < HALF_A_YEAR;
  const when = `${month} ${day} ${isRecent ? time.slice(0, 5) : year.padStart(5)}`;
  const numbers = `${String(owner.user).padEnd(8)} ${String(owner.group).padEnd(8)} ${String(size).padStart(8)}`;
  return `${TYPES[mode >> 12] ?? '?'}${rights.join('')}    ? ${numbers} ${when} ${name}`;
}
