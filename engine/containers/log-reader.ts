/**
 * Reads a container's log across its rotated files, and goes on with what is written.
 *
 * A file is left for the next one only when the next one is there and this one was read to its end after that: conmon writes to the
 * renamed file until it has opened the new one, so nothing falls between them.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { LogGap, LogOptions, LogRecord } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { LogParser, preciseTime } from './log-format.ts';
import { removedAfter, removedSince } from './log-removed.ts';
import { LogSieve } from './log-sieve.ts';
import { type Segment, identityOf, listSegments, listSettledSegments } from './log-segments.ts';

const chunkBytes = 64 * 1024;

export interface LogSource {
  path: string;
  /** Whether the writer has ended already: an unfinished last line is a line then. */
  isEnded: boolean;
  /** Resolves when nothing more will be written. */
  ended: Promise<unknown>;
}

export async function* readLog(source: LogSource, options: LogOptions): AsyncGenerator<LogRecord> {
  const accepts = recordFilter(options);
  const until = options.until;
  if (options.tail !== undefined && options.follow !== true) {
    const kept: LogRecord[] = [];
    for await (const record of readSegments(source, { ...options, follow: false })) {
      if (!accepts(record)) continue;
      kept.push(record);
      if (kept.length > options.tail) kept.shift();
    }
    yield* kept;
    return;
  }
  // With `tail` the first part is what is there now, and the position after it is where following goes on.
  let kept: LogRecord[] | undefined = options.tail === undefined ? undefined : [];
  for await (const record of readSegments(source, options)) {
    if (record === undefined) {
      yield* kept ?? [];
      kept = undefined;
      continue;
    }
    if (until !== undefined && Date.parse(record.time) > until) continue;
    if (!accepts(record)) continue;
    if (kept === undefined) yield record;
    else {
      kept.push(record);
      if (kept.length > (options.tail ?? 0)) kept.shift();
    }
  }
  yield* kept ?? [];
}

function recordFilter({
  since,
  until,
  stdout = true,
  stderr = true,
}: LogOptions): (record: LogRecord | undefined) => record is LogRecord {
  return (record): record is LogRecord => {
    if (record === undefined) return false;
    if (record.stream === 'stdout' ? !stdout : !stderr) return false;
    if (since === undefined && until === undefined) return true;
    const at = preciseTime(record.time);
    return (since === undefined || at >= since) && (until === undefined || at <= until);
  };
}

/** Records, and once `undefined` where everything that was there has been read (only when following). */
async function* readSegments(source: LogSource, options: LogOptions): AsyncGenerator<LogRecord | undefined> {
  const parser = new LogParser(options.raw);
  const { limit, since, onGap } = options;
  const sieve = options.raw === true ? undefined : new LogSieve(parser, { limit, since, onGap });
  const buffer = Buffer.alloc(chunkBytes);
  using changes = options.follow === true ? new Changes(source, options.signal) : undefined;
  let handle: FileHandle | undefined;
  /** Of the file that is open. */
  let current: string | undefined;
  let seen = new Set<string>();
  let caughtUp = false;
  try {
    for (;;) {
      options.signal?.throwIfAborted();
      // Asked before reading: what changes from here on wakes us.
      const ended = changes?.arm();
      let next = nextSegment(await listSegments(source.path), seen);
      if (next !== undefined) {
        const settled = await listSettledSegments(source.path);
        next = nextSegment(settled, seen);
        seen = new Set(settled.map(({ identity }) => identity).filter((identity) => seen.has(identity)));
      }
      if (handle !== undefined) {
        for (let read = -1; read !== 0; ) {
          read = (await handle.read(buffer, 0, buffer.length, null)).bytesRead;
          if (read > 0) yield* (sieve ?? parser).push(buffer.subarray(0, read));
        }
      }
      if (next !== undefined) {
        const opened = await openSegment(next);
        if (opened === undefined) continue;
        const missed = onGap && (await removedBetween(source.path, current, seen, since));
        if (missed !== undefined) onGap?.(missed);
        await handle?.close();
        handle = opened;
        current = next.identity;
        seen.add(next.identity);
        continue;
      }
      if (changes === undefined) {
        if (source.isEnded) yield* parser.flush();
        return;
      }
      if (!caughtUp) {
        caughtUp = true;
        options.onCaughtUp?.();
        yield undefined;
        continue;
      }
      if (ended === true) {
        yield* parser.flush();
        return;
      }
      await changes.wait();
    }
  } finally {
    sieve?.say();
    sieve?.close();
    await handle?.close();
  }
}

/** What went between the file that was read and the one that is read next; for the first one, since the time that was asked for. */
async function removedBetween(
  path: string,
  current: string | undefined,
  seen: ReadonlySet<string>,
  since: number | undefined,
): Promise<LogGap | undefined> {
  if (current === undefined) return since === undefined ? undefined : await removedSince(path, since);
  // It is there still, so nothing between them has gone.
  return seen.has(current) ? undefined : await removedAfter(path, current);
}

/** The one after the last that was read, or the oldest where none of those is here any more. */
function nextSegment(segments: Segment[], seen: ReadonlySet<string>): Segment | undefined {
  return segments[segments.findLastIndex(({ identity }) => seen.has(identity)) + 1];
}

/** Undefined where it was renamed or removed meanwhile. */
async function openSegment({ path, identity }: Segment): Promise<FileHandle | undefined> {
  try {
    const handle = await open(path, 'r');
    if (identityOf(await handle.stat({ bigint: true })) === identity) return handle;
    await handle.close();
    return undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Wakes a reader: when the directory changes, when the writer has ended, when the reader is aborted. */
class Changes {
  readonly #watcher: FSWatcher;
  readonly #signal: AbortSignal | undefined;
  #changed = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(source: LogSource, signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.#watcher = watch(dirname(source.path), () => this.#notify());
    // The directory went away with its container.
    this.#watcher.on('error', () => this.#end());
    source.ended.then(
      () => this.#end(),
      () => this.#end(),
    );
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Forgets earlier changes. True where the writer had ended by then. */
  arm(): boolean {
    this.#changed = false;
    return this.#ended;
  }

  async wait(): Promise<void> {
    if (this.#changed || this.#signal?.aborted === true) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => this.#notify();

  #end(): void {
    this.#ended = true;
    this.#notify();
  }

  #notify(): void {
    this.#changed = true;
    this.#wake?.();
  }
}
