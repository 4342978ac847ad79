/**
 * Turns logs over by size, losing nothing: the file is renamed, and conmon is asked through its control fifo to open a new one.
 * conmon's own size limit is not used, because it throws lines away.
 *
 * The turn comes first, and takes as long for a large file as for a small one. What goes for it is counted and removed after, and what is
 * not counted when the next turn is due is estimated: a writer that is faster than we are does not make us slower.
 */
import { type FSWatcher, closeSync, constants, openSync, watch, writeSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode } from '../sys/libc.ts';
import { pidOf } from './conmon.ts';
import { type LogSize, mostFileBytes, surplus } from './log-bound.ts';
import { countLines, linesBeyond } from './log-count.ts';
import { noteRemoved, noteUnwritten } from './log-losses.ts';
import { type Segment, listSegments, statSegment, turnOver } from './log-segments.ts';
import { readRecord, writeRecord } from './records.ts';

/** How often a log that is being written is looked at: between two looks it may outgrow its size. The sooner, the faster it grows. */
const restMilliseconds = { least: 20, most: 200 };

export interface RotationTarget extends LogSize {
  logPath: string;
  /** conmon's control fifo. */
  control: string;
  /** Where its process id is. */
  conmonPid: string;
  /** A file of ours, gone with the boot: how much conmon had read when it began the file that is written. */
  mark: string;
}

interface Mark {
  pid: number;
  read: number;
}

export class LogRotation {
  readonly #target: RotationTarget;
  readonly #onError: (error: unknown) => void;
  readonly #watcher: FSWatcher;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #clearing: Promise<void> = Promise.resolve();
  #counting = new AbortController();
  /** conmon was asked for a new file, and has not made it. Asked twice, it would throw away the first. */
  #asked = false;
  /** At the last look: what was in the file that is written. */
  #last = { size: 0, at: performance.now() };
  #rest = restMilliseconds.most;

  constructor(target: RotationTarget, onError: (error: unknown) => void) {
    this.#target = target;
    this.#onError = onError;
    this.#watcher = watch(dirname(target.logPath), () => this.#schedule());
    this.#watcher.on('error', () => {});
    this.#watcher.unref();
    // An engine that was killed may have turned it over and removed nothing.
    this.#clear();
    this.#schedule();
  }

  /** Resolves when nothing of the log is changed any more. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#watcher.close();
    await this.#work;
    this.#counting.abort();
    await this.#clearing;
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#work = this.#work.then(() => this.#look()).catch(this.#onError);
    }, this.#rest);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { logPath, control, maxBytes } = this.#target;
    const current = await statSegment(logPath);
    if (current === undefined && this.#asked) return;
    this.#asked = false;
    const isFull = current !== undefined && current.size >= maxBytes;
    this.#pace(current?.size ?? 0, isFull);
    if (current !== undefined && !isFull) return;
    const writer = await this.#writer();
    // What is being removed has a path that the turn changes. It takes no longer than that.
    this.#counting.abort();
    await this.#clearing;
    // Where there is none, the engine was killed between turning it over and asking.
    const closed = isFull ? turnOver(logPath) : await statSegment(`${logPath}.1`);
    if (closed?.size === mostFileBytes(this.#target)) await this.#noteUnwritten(closed, writer).catch(this.#onError);
    if (writer !== undefined) this.#remember(writer);
    this.#asked = true;
    reopenLog(control);
    this.#clear();
  }

  /** Looks again when the file should be full, going by how fast it grew. */
  #pace(size: number, isFull: boolean): void {
    const now = performance.now();
    const rate = Math.max(0, size - this.#last.size) / Math.max(1, now - this.#last.at);
    this.#last = { size: isFull ? 0 : size, at: now };
    const { least, most } = restMilliseconds;
    this.#rest = Math.max(least, Math.min(most, (this.#target.maxBytes - this.#last.size) / rate));
  }

  /** What conmon threw away since the file was full that is closed now. */
  async #noteUnwritten({ path, identity, size }: Segment, writer: Mark | undefined): Promise<void> {
    const { logPath, mark } = this.#target;
    const before = await readRecord(mark, isMark);
    const begun = before?.pid === writer?.pid ? (before?.read ?? 0) : 0;
    const lines = writer === undefined ? 0 : await linesBeyond(path, size, writer.read - begun);
    await noteUnwritten(logPath, identity, lines);
  }

  #remember(writer: Mark): void {
    try {
      writeRecord(this.#target.mark, writer);
    } catch (error) {
      // An estimate will be worse; the log must go on.
      this.#onError(error);
    }
  }

  /** How much conmon has read by now; undefined where nobody knows. */
  async #writer(): Promise<Mark | undefined> {
    const pid = await pidOf(this.#target.conmonPid);
    const read = pid === undefined ? undefined : await readBytes(pid);
    return pid === undefined || read === undefined ? undefined : { pid, read };
  }

  #clear(): void {
    this.#counting = new AbortController();
    this.#clearing = clearSurplus(this.#target, this.#counting.signal).catch(this.#onError);
  }
}

/** Removes what is not needed any more, each with a note of what was in it. */
async function clearSurplus({ logPath, ...size }: RotationTarget, signal: AbortSignal): Promise<void> {
  const closed = (await listSegments(logPath)).filter(({ path }) => path !== logPath);
  for (const { path, identity } of surplus(closed, size)) {
    try {
      await noteRemoved(logPath, identity, await countLines(path, signal));
    } finally {
      // On a full disk there is no room for the note: the more it must go.
      await rm(path, { force: true });
    }
  }
}

/** When conmon has ended: where its file was full to the brim, that more is missing, and nobody knows how much. */
export async function closeLog(logPath: string, size: LogSize): Promise<void> {
  const current = await statSegment(logPath);
  if (current?.size === mostFileBytes(size)) await noteUnwritten(logPath, current.identity, 0);
}

/** Before conmon runs again: it writes on in the file that is there, which may be full. */
export async function beginLog(logPath: string, { maxBytes }: LogSize): Promise<void> {
  const current = await statSegment(logPath);
  if (current !== undefined && current.size >= maxBytes) turnOver(logPath);
}

/** What a process has read in all, by read(2) (proc(5), io): of conmon, the container's output, and little besides. */
async function readBytes(pid: number): Promise<number | undefined> {
  try {
    const read = /^rchar: (\d+)$/m.exec(await readFile(`/proc/${pid}/io`, 'utf8'))?.[1];
    return read === undefined ? undefined : Number(read);
  } catch (error) {
    // It has ended, or this kernel does not count.
    if (hasCode(error, 'ENOENT', 'ESRCH', 'EACCES')) return undefined;
    throw error;
  }
}

function isMark(value: unknown): value is Mark {
  return typeof value === 'object' && value !== null && 'pid' in value && 'read' in value;
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
