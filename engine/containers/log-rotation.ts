/**
 * Rotates logs by size, losing nothing: the file is renamed, and conmon is asked through its control fifo to open a new one.
 * conmon's own size limit is not used, because it throws lines away.
 */
import { type FSWatcher, closeSync, constants, openSync, watch, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasCode } from '../sys/libc.ts';
import { noteRemoved } from './log-removed.ts';
import { shiftSegments, statSegment } from './log-segments.ts';

/** How often at most a log that is being written is looked at. Between two looks it may outgrow its size. */
const restMilliseconds = 200;

export interface RotationTarget {
  logPath: string;
  /** conmon's control fifo. */
  control: string;
  maxBytes: number;
  maxFiles: number;
}

export class LogRotation {
  readonly #target: RotationTarget;
  readonly #onError: (error: unknown) => void;
  readonly #watcher: FSWatcher;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(target: RotationTarget, onError: (error: unknown) => void) {
    this.#target = target;
    this.#onError = onError;
    this.#watcher = watch(dirname(target.logPath), () => this.#schedule());
    this.#watcher.on('error', () => {});
    this.#watcher.unref();
    this.#schedule();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#watcher.close();
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#work = this.#work.then(() => this.#look()).catch(this.#onError);
    }, restMilliseconds);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { logPath, control, maxBytes, maxFiles } = this.#target;
    const current = await statSegment(logPath);
    if (current === undefined) {
      // The engine was killed between renaming and asking.
      reopenLog(control);
      return;
    }
    if (current.size < maxBytes) return;
    await shiftSegments(logPath, maxFiles, (segments) => noteRemoved(logPath, segments));
    reopenLog(control);
  }
}

/** `2 0 0`: open the log anew (conmon's ctrl.c). Nobody listens where the container has ended. */
function reopenLog(control: string): void {
  try {
    const descriptor = openSync(control, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      writeSync(descriptor, '2 0 0\n');
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (!hasCode(error, 'ENXIO', 'ENOENT', 'EPIPE')) throw error;
  }
}
