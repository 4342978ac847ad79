/**
 * Logs as a collector reads them (`collect=true`): both streams in one, as they were written, a record a line:
 *
 *   <RFC 3339> stdout <line>
 *   <RFC 3339> stderr <line>
 *   <RFC 3339> node <how many lines are missing here> <the same for people>
 *
 * What a pod's annotation allows of each container holds here, and a bound for everybody, so that a container that writes as fast as
 * it can costs the node little and its neighbours nothing. What is left out, and what rotation took before it was read, is counted,
 * and said: the first line of it at once, then what there was in each second.
 */
import type { LogGap, LogLimit } from '#engine/engine.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { LogCount } from './agent.ts';
import { logRateAnnotation } from './labels.ts';

/** Of one container. Above it the node's own work would suffer. */
const MOST_LINES_PER_SECOND = 64_000;

export function logLimitOf(pod: Pod): LogLimit {
  const text = pod.metadata.annotations?.[logRateAnnotation] ?? '';
  return {
    linesPerSecond: MOST_LINES_PER_SECOND,
    // What is no number is no limit: the annotation is the platform's.
    ...(/^\d{1,15}$/.test(text) && { bytesPerSecond: Number(text) }),
  };
}

/** In Cloud Foundry's words where it has some. With a limit of nothing there is nothing to say: undefined. */
export function gapText(gap: LogGap, limit: LogLimit): string | undefined {
  const lines = `${gap.lines} ${gap.lines === 1 ? 'line' : 'lines'} left out`;
  if (gap.reason === 'overrun') {
    const lines = gap.lines === 0 ? 'nobody knows how many' : `about ${gap.lines}`;
    return `log lines were lost: ${lines} came while the log was full and the node was not there to go on`;
  }
  if (gap.reason === 'rotation') return `log lines were lost: ${gap.lines} were rotated away before they were read`;
  if (gap.reason === 'bytes') {
    if (limit.bytesPerSecond === 0) return undefined;
    return `app instance exceeded log rate limit (${limit.bytesPerSecond} bytes/sec): ${lines}`;
  }
  return `app instance exceeded log rate limit (${limit.linesPerSecond} log-lines/sec) set by platform operator: ${lines}`;
}

/** By container's id, for as long as it is there. */
export class LogCounts {
  readonly #counts = new Map<string, LogCount>();

  of(id: string): LogCount {
    let count = this.#counts.get(id);
    if (count === undefined) this.#counts.set(id, (count = { bytes: 0, lines: 0, droppedLines: 0 }));
    return count;
  }

  /** Forgets all others. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#counts.keys()) if (!ids.has(id)) this.#counts.delete(id);
  }
}
