/**
 * The log plank's contract inside the platform: one stream of envelopes for each app, from instances, staging, router
 * and lifecycle, read by Cloud Foundry's log-cache API.
 *
 * Instance lines are read from the nodes through the Kubernetes API (`pods/log` with times): they are durable there, so
 * a restart of the platform reads them again; each is told by pod, container run and time, so that none comes twice. Only the newest
 * are kept in memory: older ones are read from the nodes again when somebody asks for them.
 * Other lines are told by their emitter, and are in memory only.
 *
 * Nothing is dropped without a word: what a node leaves out (an instance's limit, files that were rotated away unread) is a line of
 * the instance, what a slow reader of `follow` misses is a line of `LGR`; both with a number.
 */
export interface LogEnvelope {
  /** Nanoseconds since the epoch, as a decimal string; strictly growing within one source, so it can serve as a cursor. */
  timestamp: string;
  /** The app's guid. */
  sourceId: string;
  /** Instance index, `0` for what has none. */
  instanceId: string;
  /** `APP/PROC/WEB`, `STG`, `RTR`, `API`, `CELL`, … */
  sourceType: string;
  type: 'OUT' | 'ERR';
  payload: Buffer;
  /** It says that so many lines are missing: who drops it has dropped them. */
  missing?: number;
}

export interface LogQuery {
  sourceId: string;
  /** Inclusive and exclusive, nanoseconds. */
  startTime?: string;
  endTime?: string;
  /** At most 1,000; default 100. */
  limit?: number;
  descending?: boolean;
}

export interface Logs {
  emit(line: {
    sourceId: string;
    sourceType: string;
    instanceId?: string;
    type?: 'OUT' | 'ERR';
    message: string | Buffer;
    /** Milliseconds; default now. */
    at?: number;
  }): void;
  read(query: LogQuery): Promise<LogEnvelope[]>;
  /** Called for every envelope of the source from now on. */
  subscribe(sourceId: string, listener: (envelopes: LogEnvelope[]) => void): () => void;
  /** Forgets a source (the app was deleted). */
  forget(sourceId: string): void;
  /** What is kept warm of each source. */
  summaries(): SourceSummary[];
  close(): Promise<void>;
}

export interface SourceSummary {
  sourceId: string;
  count: number;
  /** How many were kept and are not any more. */
  expired: number;
  oldest: string | undefined;
  newest: string | undefined;
}
