/** The NIS domain name of a process's UTS namespace (uts_namespaces(7)), which nobody in a user namespace may set through /proc. */
import { closeSync, openSync } from 'node:fs';
import { syscall } from './libc.ts';

const CLONE_NEWUTS = 0x04000000;

/** The thread is back in its own namespace before anything else can run; where it cannot come back, the process ends. */
export function setDomainName(pid: number, name: string): void {
  const own = openSync('/proc/thread-self/ns/uts', 'r');
  const other = openSync(`/proc/${pid}/ns/uts`, 'r');
  try {
    syscall('setns', other, CLONE_NEWUTS);
    try {
      const bytes = Buffer.from(name);
      syscall('setdomainname', bytes, bytes.length);
    } finally {
      try {
        syscall('setns', own, CLONE_NEWUTS);
      } catch {
        process.abort();
      }
    }
  } finally {
    closeSync(other);
    closeSync(own);
  }
}
