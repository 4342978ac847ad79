/** Processes by descriptor, so that a signal never reaches another process that got the same number. */
import { closeSync } from 'node:fs';
import { processStartTime } from '#lib/process-start-time.ts';
import { hasCode, syscall } from './libc.ts';

const PIDFD_GET_INFO = 0xc040ff0b;
const PIDFD_INFO_EXIT = 1n << 3n;
const infoLength = 64;
const exitCodeOffset = 60;

export class ProcessHandle {
  readonly pid: number;
  readonly #descriptor: number;
  #open = true;

  private constructor(pid: number, descriptor: number) {
    this.pid = pid;
    this.#descriptor = descriptor;
  }

  /** Undefined where there is no such process; with `startTime`, where it is another one with the same number. */
  static open(pid: number, startTime?: string): ProcessHandle | undefined {
    let descriptor: number;
    try {
      descriptor = syscall('pidfd_open', pid, 0);
    } catch (error) {
      if (hasCode(error, 'ESRCH', 'EINVAL')) return undefined;
      throw error;
    }
    const handle = new ProcessHandle(pid, descriptor);
    if (startTime === undefined || processStartTime(pid) === startTime) return handle;
    handle.close();
    return undefined;
  }

  /** False where it has ended. */
  signal(number: number): boolean {
    if (!this.#open) return false;
    try {
      syscall('pidfd_send_signal', this.#descriptor, number, null, 0);
      return true;
    } catch (error) {
      if (hasCode(error, 'ESRCH')) return false;
      throw error;
    }
  }

  /** Which signal ended it: 0 for none; undefined where it has not been reaped, or the kernel (before 6.15) does not tell. */
  terminatingSignal(): number | undefined {
    if (!this.#open) return undefined;
    const info = Buffer.alloc(infoLength);
    info.writeBigUInt64LE(PIDFD_INFO_EXIT, 0);
    try {
      syscall('ioctl', this.#descriptor, PIDFD_GET_INFO, info);
    } catch (error) {
      if (hasCode(error, 'ENOTTY', 'EINVAL', 'ESRCH')) return undefined;
      throw error;
    }
    if ((info.readBigUInt64LE(0) & PIDFD_INFO_EXIT) === 0n) return undefined;
    return info.readInt32LE(exitCodeOffset) & 0x7f;
  }

  /** A descriptor of our own for what the process has open under that number. */
  duplicate(descriptor: number): number {
    return syscall('pidfd_getfd', this.#descriptor, descriptor, 0);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#descriptor);
  }
}
