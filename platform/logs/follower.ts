/**
 * Follows one container of one pod through all its runs: what is there when we come, then what comes. A connection that
 * breaks is made again from where it was; nothing is told twice. Lines that a run left behind are read as its `previous`
 * log before those of the next run.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { Cursor, LONGEST_GROUP, readLines, withoutCutGroup } from './lines.ts';
import type { LogEnvelope } from './logs.ts';
import type { Source } from './source.ts';

export interface FollowerOptions {
  client: Client;
  pod: { name: string; namespace: string };
  container: string;
  source: Source;
  /** Everything of the envelope but time, stream and payload. */
  origin: Pick<LogEnvelope, 'sourceId' | 'instanceId' | 'sourceType'>;
  /** It may have run for long: only its newest lines are read at first. Else all that it ever wrote is told. */
  old: boolean;
  /** The container's runs so far, by the pod's newest status; undefined when the pod is gone. */
  run(): { restarts: number; running: boolean } | undefined;
  /** Resolves at the pod's next change. */
  changed(): Promise<void>;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** Older ones are read from the nodes when somebody asks. */
const BACKLOG_LINES = 1000 + LONGEST_GROUP;
const FIRST_RETRY = 100;
const LAST_RETRY = 5000;

/** Resolves when the pod is gone and read to its end, or when the signal is aborted. */
export async function followContainer(options: FollowerOptions): Promise<void> {
  const cursor = new Cursor();
  const read = async (parameters: { follow?: boolean; previous?: boolean; tailLines?: number }) => {
    const { sinceTime } = cursor;
    const body = await options.client.podLog(options.pod, {
      container: options.container,
      collect: true,
      ...parameters,
      ...(sinceTime !== undefined && { sinceTime }),
      signal: options.signal,
    });
    const { tailLines } = parameters;
    const tail: LogEnvelope[] = [];
    await readLines(body, cursor, (timestamp, stream, payload, missing) => {
      const type = stream === 'stderr' ? ('ERR' as const) : ('OUT' as const);
      const envelope = { ...options.origin, timestamp, type, payload, ...(missing > 0 && { missing }) };
      if (tailLines === undefined) options.source.push(envelope);
      else tail.push(envelope);
    });
    if (tailLines === undefined) return;
    const whole = withoutCutGroup(tail, tailLines);
    if (whole.length < tail.length) options.source.hasOlder = true;
    for (const envelope of whole) options.source.push(envelope);
  };
  const backlog = (previous: boolean, tail: boolean): Promise<void> =>
    read({ ...(previous && { previous }), ...(tail && { tailLines: BACKLOG_LINES }) });
  let first = true;
  for (let wait = FIRST_RETRY; !options.signal.aborted; ) {
    const run = options.run();
    const began = Date.now();
    try {
      const loaded = options.source.load();
      try {
        if (run === undefined || run.restarts > 0) await backlog(true, first && options.old).catch(ignoreMissing);
        await backlog(false, first && options.old);
      } finally {
        loaded();
      }
      first = false;
      if (run === undefined) return;
      await read({ follow: true });
      // It ended in order: the run is over. What comes next is told by the pod's status.
      await nextRun(options, run.restarts);
      wait = FIRST_RETRY;
      continue;
    } catch (error) {
      if (options.signal.aborted) return;
      const gone = error instanceof ApiError && error.code === 404;
      if (gone && options.run() === undefined) return;
      if (!gone) options.log('info', 'A log is read again', { ...options.pod, error: String(error) });
    }
    if (Date.now() - began > LAST_RETRY) wait = FIRST_RETRY;
    await delay(wait, undefined, { signal: options.signal }).catch(() => undefined);
    wait = Math.min(LAST_RETRY, wait * 2);
  }
}

/** Waits until the container has another run, or the pod is gone. A run that only seems over is read on after a moment. */
async function nextRun(options: FollowerOptions, restarts: number): Promise<void> {
  const began = Date.now();
  while (!options.signal.aborted) {
    const run = options.run();
    if (run === undefined || (run.restarts !== restarts && run.running)) return;
    if (run.running) {
      // The status may lag behind the log's end; if it stays, the stream was cut.
      const lag = FIRST_RETRY * 5 - (Date.now() - began);
      if (lag <= 0) return;
      await Promise.race([options.changed(), delay(lag, undefined, { ref: false })]);
    } else {
      await options.changed();
    }
  }
}

function ignoreMissing(error: unknown): void {
  // 400 and 404: there is no previous run, or its log is not kept any more.
  if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 400)) throw error;
}
