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
import { lossesAfter, lossesSince } from './log-losses.ts';
import { LogSieve } from './log-sieve.ts';
import { type Segment, identityOf, listSegments, listSettledSegments } from './log-segments.ts';

const chunkBytes = 64 * 1024;
/** conmon reads 8 KiB at once, and puts a time before them. */
const mostRecordBytes = 16 * 1024;

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

/**
 * Records, and once `undefined` where everything that was there at the beginning has been read (only when following). The end of what
 * is written meanwhile is not waited for: a writer may be faster than its readers.
 */
async function* readSegments(source: LogSource, options: LogOptions): AsyncGenerator<LogRecord | undefined> {
  const parser = new LogParser(options.raw);
  const { limit, since, onGap } = options;
  const sieve = options.raw === true ? undefined : new LogSieve(parser, { limit, since, onGap });
  const buffer = Buffer.alloc(chunkBytes);
  using changes = options.follow === true ? new Changes(source, options.signal) : undefined;
  const all = await listSettledSegments(source.path);
  const there = all.at(-1);
  let file = options.tail === 0 && there !== undefined ? await openAtEnd(there) : undefined;
  let seen = new Set(file === undefined ? [] : all.map(({ identity }) => identity));
  let caughtUp = false;
  try {
    for (;;) {
      options.signal?.throwIfAborted();
      // Asked before reading: what changes from here on wakes us.
      const ended = changes?.arm();
      let segments = await listSegments(source.path);
      if (!caughtUp || nextSegment(segments, seen) !== undefined) {
        segments = await listSettledSegments(source.path);
        seen = new Set(segments.map(({ identity }) => identity).filter((identity) => seen.has(identity)));
      }
      const next = nextSegment(segments, seen);
      const isLast = file !== undefined && file.identity === there?.identity;
      const end = isLast && !caughtUp ? (there?.size ?? 0) : Number.POSITIVE_INFINITY;
      if (file !== undefined) {
        for (let read = -1; read !== 0; ) {
          options.signal?.throwIfAborted();
          const length = Math.max(0, Math.min(buffer.length, end - file.position));
          read = (await file.handle.read(buffer, 0, length, file.position)).bytesRead;
          file.position += read;
          if (read > 0) yield* (sieve ?? parser).push(buffer.subarray(0, read));
        }
      }
      // Or it went before it was read.
      const isPast = next === undefined || isLast || !segments.some(({ identity }) => identity === there?.identity);
      if (isPast && changes === undefined && !source.isEnded) return;
      if (isPast && changes !== undefined && !caughtUp) {
        caughtUp = true;
        options.onCaughtUp?.();
        yield undefined;
        continue;
      }
      if (next !== undefined) {
        const handle = await openSegment(next);
        if (handle === undefined) continue;
        const missed = await missedBetween(source.path, file?.identity, seen, since);
        if (missed.length > 0 || parser.isWithin) yield* parser.cut();
        for (const gap of missed) onGap?.(gap);
        await file?.handle.close();
        file = { handle, identity: next.identity, position: 0 };
        seen.add(next.identity);
        continue;
      }
      if (changes === undefined || ended === true) {
        yield* parser.flush();
        if (file === undefined || onGap === undefined) return;
        for (const gap of await missedBetween(source.path, file.identity, seen, since)) onGap(gap);
        return;
      }
      await changes.wait();
    }
  } finally {
    sieve?.say();
    sieve?.close();
    await file?.handle.close();
  }
}

/** What is missing between the file that was read and the one that is read next; before the first one, since the time that was asked for. */
async function missedBetween(
  path: string,
  current: string | undefined,
  seen: ReadonlySet<string>,
  since: number | undefined,
): Promise<LogGap[]> {
  if (current === undefined) return since === undefined ? [] : await lossesSince(path, since);
  // Where it is there still, nothing between them has gone.
  return await lossesAfter(path, { identity: current, isThere: seen.has(current), since });
}

/** The one after the last that was read, or the oldest where none of those is here any more. */
function nextSegment(segments: Segment[], seen: ReadonlySet<string>): Segment | undefined {
  return segments[segments.findLastIndex(({ identity }) => seen.has(identity)) + 1];
}

/** At the beginning of the record that ends last, or is being written. */
async function openAtEnd(segment: Segment): Promise<OpenSegment | undefined> {
  const handle = await openSegment(segment);
  if (handle === undefined) return undefined;
  const start = Math.max(0, segment.size - mostRecordBytes);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(mostRecordBytes), 0, segment.size - start, start);
  const position = start + buffer.subarray(0, bytesRead).lastIndexOf(10) + 1;
  return { handle, identity: segment.identity, position };
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

interface OpenSegment {
  handle: FileHandle;
  identity: string;
  /** Up to where it was read. */
  position: number;
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
