/**
 * Asynchronous work behind `/v3/jobs/:guid`. A job's guid says what it does (`app.delete~<guid>`), so that after a restart
 * the answer can be told from what is there: a deletion is done when its object is gone. Work that a restart interrupted is
 * reported as failed, with the advice to repeat it; deletions of spaces and organizations are taken up again at boot.
 */
import { randomUUID } from 'node:crypto';
import { CloudFoundryError, type ErrorJson, UnprocessableError } from './errors.ts';

export interface Job {
  guid: string;
  operation: string;
  /** `POLLING`: a broker is at it. */
  state: 'PROCESSING' | 'POLLING' | 'COMPLETE' | 'FAILED';
  errors: ErrorJson[];
  warnings?: string[];
  createdAt: string;
  updatedAt: string;
  /** The space that an applied manifest is for. */
  space?: string;
  /** What it is about: a kind of the API, and a guid. */
  resource?: { kind: string; guid: string };
}

const MAX_JOBS = 1_000;

export class Jobs {
  readonly #jobs = new Map<string, Job>();
  readonly #running = new Set<Promise<void>>();
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #exists: (operation: string, guid: string) => boolean;
  readonly #log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

  constructor(options: {
    /** Does the object of a `<kind>.delete` exist? */
    exists: (operation: string, guid: string) => boolean;
    log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  }) {
    this.#exists = options.exists;
    this.#log = options.log;
  }

  /** Starts the work and gives the job's guid. `target` is what is deleted, where it is a deletion. */
  start(operation: string, work: () => Promise<void>, options: { target?: string; space?: string } = {}): string {
    const guid = `${operation}~${options.target ?? randomUUID()}`;
    const known = this.#jobs.get(guid);
    if (known?.state === 'PROCESSING') return guid;
    const now = new Date().toISOString();
    const job: Job = {
      guid,
      operation,
      state: 'PROCESSING',
      errors: [],
      createdAt: now,
      updatedAt: now,
      ...(options.space === undefined ? {} : { space: options.space }),
    };
    this.#jobs.delete(guid);
    this.#jobs.set(guid, job);
    this.#forgetOld();
    const running = this.#run(job, work);
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
    return guid;
  }

  get(guid: string): Job | undefined {
    const job = this.#jobs.get(guid);
    if (job) return job;
    const match = /^([a-z_]+\.[a-z_]+)~([0-9a-f-]{36})$/.exec(guid);
    if (!match) return undefined;
    const [, operation = '', target = ''] = match;
    const now = new Date().toISOString();
    const told = { guid, operation, createdAt: now, updatedAt: now };
    if (operation.endsWith('.delete') && !this.#exists(operation, target)) {
      return { ...told, state: 'COMPLETE', errors: [] };
    }
    const error = new CloudFoundryError(
      'UnknownError',
      `The operation "${operation}" was interrupted by a restart of the platform. Repeat it.`,
    );
    return { ...told, state: 'FAILED', errors: [error.toJson()] };
  }

  /** Tells of each job that ends. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** For work that waits for others: it is taken up again, or repeated, after the next start. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  stop(): void {
    this.#stop.abort(new Error('The platform stops'));
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #run(job: Job, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      job.state = 'COMPLETE';
    } catch (error) {
      job.errors = errorList(error);
      const isStopped = this.#stop.signal.aborted;
      if (!(error instanceof CloudFoundryError) && !isStopped)
        this.#log('error', 'A job failed', { job: job.guid, error });
      job.state = 'FAILED';
    }
    job.updatedAt = new Date().toISOString();
    for (const listener of this.#listeners) listener();
  }

  #forgetOld(): void {
    for (const [guid, job] of this.#jobs) {
      if (this.#jobs.size <= MAX_JOBS) return;
      if (job.state !== 'PROCESSING') this.#jobs.delete(guid);
    }
  }
}

export function errorList(error: unknown): ErrorJson[] {
  if (error instanceof UnprocessableError) {
    return error.details.map((detail) => new CloudFoundryError('UnprocessableEntity', detail).toJson());
  }
  if (error instanceof CloudFoundryError) return [error.toJson()];
  return [new CloudFoundryError('UnknownError', 'An unknown error occurred.').toJson()];
}
