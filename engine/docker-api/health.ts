/**
 * Health checks: a command that is executed in the container now and then. One at a time for each container; the next is due an
 * interval after the last one ended. What was found lies in a file for each container, so that an engine that is opened again goes
 * on where the last one was.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { settledBefore } from '#lib/settled-before.ts';
import { timerOf } from '#lib/longest-timer.ts';
import { readRecord, writeRecord } from '../containers/records.ts';
import { type Container, EngineError, type EngineEvent, type Healthcheck } from '../engine.ts';
import type { DockerEngine } from './call.ts';
import type { Happenings } from './happenings.ts';
import { settingsOf } from './settings.ts';

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

export interface Health {
  status: HealthStatus;
  failingStreak: number;
  /** The last five. */
  log: { start: number; end: number; code: number; output: string }[];
}

const KEPT_RESULTS = 5;
const LONGEST_OUTPUT = 4096;
/** Milliseconds: Docker's defaults. */
const DEFAULTS = { interval: 30_000, timeout: 30_000, startPeriod: 0, startInterval: 5000, retries: 3 };

interface Watched {
  check: Healthcheck;
  health: Health;
  timer: NodeJS.Timeout | undefined;
  /** Aborted when it ended, or the engine closes. */
  ending: AbortController;
  probing: Promise<void>;
}

export class HealthChecks {
  readonly #engine: DockerEngine;
  readonly #happenings: Happenings;
  readonly #directory: string;
  readonly #onError: (error: unknown) => void;
  readonly #watched = new Map<string, Watched>();
  /** Of containers that do not run. */
  readonly #past = new Map<string, Health>();

  constructor(
    engine: DockerEngine,
    options: { happenings: Happenings; directory: string; onError: (error: unknown) => void },
  ) {
    this.#engine = engine;
    this.#happenings = options.happenings;
    this.#directory = options.directory;
    this.#onError = options.onError;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** Goes on with what an earlier engine found out. */
  async open(containers: readonly Container[]): Promise<void> {
    const ids = new Set(containers.map(({ id }) => id));
    for (const name of readdirSync(this.#directory)) if (!ids.has(name)) rmSync(join(this.#directory, name));
    for (const container of containers) {
      if (checkOf(container) === undefined) continue;
      const health = await readRecord(join(this.#directory, container.id), isHealth);
      if (container.state === 'running') this.#watch(container, health);
      else if (health !== undefined) this.#past.set(container.id, { ...health, status: 'unhealthy' });
    }
  }

  /** Undefined where nothing is asked. */
  of(container: Container): Health | undefined {
    if (checkOf(container) === undefined) return undefined;
    const known = this.#watched.get(container.id)?.health ?? this.#past.get(container.id);
    return known ?? (container.state === 'created' ? undefined : { status: 'starting', failingStreak: 0, log: [] });
  }

  follow(event: EngineEvent, container: Container | undefined): void {
    if (event.type === 'container-started' && container !== undefined) this.#watch(container, undefined);
    if (event.type === 'container-exited') this.#unwatch(event.id);
    if (event.type === 'container-removed') {
      this.#unwatch(event.id);
      this.#past.delete(event.id);
      rmSync(join(this.#directory, event.id), { force: true });
    }
  }

  async close(): Promise<void> {
    const all = [...this.#watched.values()];
    for (const { ending, timer } of all) {
      clearTimeout(timer);
      ending.abort();
    }
    await Promise.all(all.map(({ probing }) => probing));
  }

  #watch(container: Container, known: Health | undefined): void {
    const check = checkOf(container);
    if (check === undefined) return;
    this.#unwatch(container.id);
    this.#past.delete(container.id);
    const health: Health = known ?? { status: 'starting', failingStreak: 0, log: [] };
    const ending = new AbortController();
    const watched: Watched = { check, health, timer: undefined, ending, probing: Promise.resolve() };
    this.#watched.set(container.id, watched);
    this.#schedule(container.id, watched, health.log.at(-1)?.end ?? container.startedAt ?? Date.now());
  }

  /** As Docker shows it: what does not run is not well. */
  #unwatch(id: string): void {
    const watched = this.#watched.get(id);
    if (watched === undefined) return;
    clearTimeout(watched.timer);
    watched.ending.abort();
    this.#watched.delete(id);
    this.#past.set(id, { ...watched.health, status: 'unhealthy' });
  }

  /** @param last  when the last one ended, or the container started */
  #schedule(id: string, watched: Watched, last: number): void {
    if (watched.ending.signal.aborted) return;
    const container = this.#engine.container(id);
    const since = Date.now() - (container?.startedAt ?? Date.now());
    const { interval, startPeriod, startInterval } = { ...DEFAULTS, ...watched.check };
    const isStarting = watched.health.status === 'starting' && since < startPeriod;
    const due = last + (isStarting ? startInterval : interval);
    const wait = timerOf(due - Date.now());
    watched.timer = setTimeout(() => {
      watched.probing = this.#probe(id, watched)
        .catch(this.#onError)
        .then(() => this.#schedule(id, watched, Date.now()));
    }, wait);
  }

  async #probe(id: string, watched: Watched): Promise<void> {
    const container = this.#engine.container(id);
    // What is frozen cannot answer: it is asked when it goes on.
    if (container?.state !== 'running' || container.paused === true) return;
    const { timeout, retries, startPeriod } = { ...DEFAULTS, ...watched.check };
    const start = Date.now();
    const result = await this.#execute(id, watched, timeout);
    if (result === undefined || watched.ending.signal.aborted) return;
    // Frozen in the middle: what the runtime says of that is no result of the check.
    if (this.#engine.container(id)?.paused === true) return;
    const { health } = watched;
    const before = health.status;
    if (result.code === 0) {
      health.failingStreak = 0;
      health.status = 'healthy';
    } else if (!(before === 'starting' && start - (container.startedAt ?? start) < startPeriod)) {
      health.failingStreak += 1;
      if (health.failingStreak >= retries) health.status = 'unhealthy';
    }
    health.log = [...health.log, { start, end: Date.now(), ...result }].slice(-KEPT_RESULTS);
    writeRecord(join(this.#directory, id), health);
    if (health.status !== before) this.#happenings.about(container, `health_status: ${health.status}`);
  }

  /** Undefined where the container ended meanwhile. */
  async #execute(
    id: string,
    { check, ending }: Watched,
    timeout: number,
  ): Promise<{ code: number; output: string } | undefined> {
    const [kind, ...rest] = check.test;
    const command = kind === 'CMD-SHELL' ? ['/bin/sh', '-c', rest.join(' ')] : rest;
    const limit = AbortSignal.timeout(timerOf(timeout));
    const signal = AbortSignal.any([limit, ending.signal]);
    const running = this.#run(id, command, signal);
    running.catch(() => {});
    try {
      // Not waited for beyond that: what was frozen meanwhile dies only when it goes on.
      if (await settledBefore(running, signal)) return await running;
    } catch (error) {
      if (error instanceof EngineError && error.code === 'conflict') return undefined;
      if (!signal.aborted) return { code: -1, output: error instanceof Error ? error.message : String(error) };
    }
    if (ending.signal.aborted) return undefined;
    return { code: -1, output: `Health check exceeded timeout (${timeout / 1000}s)` };
  }

  async #run(id: string, command: string[], signal: AbortSignal): Promise<{ code: number; output: string }> {
    const session = await this.#engine.exec(id, { command }, { signal });
    const chunks: Buffer[] = [];
    let length = 0;
    const read = (chunk: Buffer): void => {
      if (length < LONGEST_OUTPUT) chunks.push(chunk.subarray(0, LONGEST_OUTPUT - length));
      length += chunk.length;
    };
    session.stdout.on('data', read);
    session.stderr?.on('data', read);
    const { code } = await session.exited;
    signal.throwIfAborted();
    return { code, output: Buffer.concat(chunks).toString() };
  }
}

/** As the API shows it; undefined where the container has no check. */
export function healthView(health: Health | undefined): Record<string, unknown> | undefined {
  if (health === undefined) return undefined;
  return {
    Status: health.status,
    FailingStreak: health.failingStreak,
    Log: health.log.map(({ start, end, code, output }) => ({
      Start: new Date(start).toISOString(),
      End: new Date(end).toISOString(),
      ExitCode: code,
      Output: output,
    })),
  };
}

function checkOf(container: Container): Healthcheck | undefined {
  const check = settingsOf(container)?.health;
  return check === undefined || check.test[0] === 'NONE' ? undefined : check;
}

function isHealth(value: unknown): value is Health {
  return typeof value === 'object' && value !== null && 'status' in value && 'log' in value && Array.isArray(value.log);
}
