/**
 * API priority and fairness (flowcontrol.apiserver.k8s.io/v1): each client has its fair share of the server.
 *
 * - A request belongs to the first FlowSchema that matches, and to the PriorityLevelConfiguration that it names; requests of the level
 *   `exempt`, as those of `system:masters`, pass at once, and so does what runs inside the server itself.
 * - A level has its share of the server's seats (`seats`, upstream's 600), and those that others lend. What finds none waits in the
 *   line of its flow (`level.ts`), for 15 seconds at most, or is refused where the level does not queue: 429, `Retry-After: 1`.
 * - The server has one thread. Who keeps it busy with many cheap requests at once never fills seats, so what comes in one turn of the event
 *   loop after its first 10 milliseconds waits too, and is taken in the same fair order, a request for each turn. Without such a moment
 *   nothing waits, and all of this costs a look-up.
 * - A seat is held until the answer is on its way, not while a watch, a log or another stream goes on.
 *
 * Every answer names its schema and level (`X-Kubernetes-PF-FlowSchema-UID`, `X-Kubernetes-PF-PriorityLevel-UID`).
 */
import { flowSchemas, priorityLevelConfigurations } from '../../kinds/resources.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '../../kinds/types/flowcontrol.ts';
import { kindPrefix, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';
import { StatusError } from '../errors.ts';
import { type Exchange, sendError } from '../exchange.ts';
import { Classifier, type Flow, schemaOf } from './classify.ts';
import { Level, type Line, settingsOf, type Waiting } from './level.ts';

export interface FlowControlOptions {
  /** Requests that run at once. */
  seats?: number;
  /** Milliseconds in a line. */
  patience?: number;
  /** Milliseconds of a turn of the event loop before what comes waits. */
  turn?: number;
  /** Milliseconds; for tests. */
  clock?: () => number;
}

/** Once they are let in, they are on somebody else's time. */
const STREAMS = /^\/api\/v1\/(namespaces\/[^/]+\/)?(nodes|pods|services)\/[^/]+\/(log|proxy)(\/|$)/;
const SCHEMA_HEADER = 'x-kubernetes-pf-flowschema-uid';
const LEVEL_HEADER = 'x-kubernetes-pf-prioritylevel-uid';

function withoutEnd(work: () => Promise<void>): () => Promise<void> {
  return () => {
    void work();
    return Promise.resolve();
  };
}

export class FlowControl {
  readonly #core: Pick<Core, 'cache' | 'metrics'>;
  readonly #seats: number;
  readonly #patience: number;
  readonly #turn: number;
  readonly #clock: () => number;
  readonly #levels = new Map<string, Level>();
  #classifier: Classifier | undefined;
  #waiting = 0;
  /** The usage of the level that was last served: one in which nobody waited begins there. */
  #reached = 0;
  #turnEnds: number | undefined;
  #nextIsSet = false;

  /** The cache must be filled. */
  constructor(core: Pick<Core, 'cache' | 'metrics'>, options: FlowControlOptions = {}) {
    this.#core = core;
    this.#seats = options.seats ?? 600;
    this.#patience = options.patience ?? 15_000;
    this.#turn = options.turn ?? 10;
    this.#clock = options.clock ?? (() => performance.now());
    for (const kind of [flowSchemas, priorityLevelConfigurations])
      core.cache.resource(kindPrefix(kind)).listeners.add(({ type, previous, parsed }) => {
        // Not after a write of a status alone.
        if (
          type !== 'update' ||
          previous === undefined ||
          parsed?.metadata.generation !== objectOf(previous).metadata.generation
        )
          this.#classifier = undefined;
      });
  }

  /** Does the work when it is its turn, or answers that it will not. */
  run(exchange: Exchange, whole: () => Promise<void>): void {
    const flow = (this.#classifier ?? this.#read()).classify(exchange);
    const level = flow && this.#levels.get(flow.schema.level);
    if (flow === undefined || level === undefined) return void whole();
    exchange.responder.always?.({ [SCHEMA_HEADER]: flow.schema.uid, [LEVEL_HEADER]: level.settings.uid });
    if (level.settings.exempt) return void whole();
    const work = STREAMS.test(exchange.path) ? withoutEnd(whole) : whole;
    const isBusy = this.#isBusy();
    const hasSeat = this.#hasSeat(level);
    if (this.#waiting === 0 && !isBusy && hasSeat) return void this.#start(level, undefined, work);
    if (!hasSeat && level.settings.queuing === undefined) return this.#refuse(exchange, flow, 'concurrency-limit');
    this.#wait(exchange, flow, level, work);
  }

  /** For the server's metrics. */
  counts(): { level: string; running: number; waiting: number; seats: number }[] {
    return [...this.#levels.values()].map(({ settings, running, waiting, nominal }) => ({
      level: settings.name,
      running,
      waiting,
      seats: nominal,
    }));
  }

  #wait(exchange: Exchange, flow: Flow, level: Level, work: () => Promise<void>): void {
    if (level.waiting === 0) level.usage = Math.max(level.usage, this.#reached);
    let over = false;
    /** False when it was before. */
    const isOver = (): boolean => {
      if (over) return false;
      over = true;
      this.#waiting--;
      clearTimeout(timer);
      return true;
    };
    const start = (): void => {
      if (isOver()) this.#start(level, line, work);
    };
    const line = level.add(flow, start);
    if (line === undefined) return this.#refuse(exchange, flow, 'queue-full');
    this.#waiting++;
    const leave = (): boolean => {
      if (!isOver()) return false;
      level.drop(line, start);
      return true;
    };
    const timer = setTimeout(() => {
      if (leave()) this.#refuse(exchange, flow, 'time-out');
    }, this.#patience);
    exchange.responder.onClose(leave);
    this.#setNext();
  }

  #start(level: Level, line: Line | undefined, work: () => Promise<void>): void {
    level.running++;
    const started = this.#clock();
    const ended = (): void => {
      level.running--;
      const taken = this.#clock() - started;
      level.usage += taken / Math.max(1, level.settings.shares);
      if (line !== undefined) level.ended(line, taken);
      if (this.#waiting > 0) this.#setNext();
    };
    work().then(ended, ended);
  }

  /** One that waits, in the next turn: what came meanwhile is read before, and stands in line. */
  #setNext(): void {
    if (this.#nextIsSet) return;
    this.#nextIsSet = true;
    setImmediate(() => {
      this.#nextIsSet = false;
      this.#next()?.();
      if (this.#waiting > 0 && this.#nextLevel() !== undefined) this.#setNext();
    });
  }

  #next(): Waiting | undefined {
    const level = this.#nextLevel();
    if (level !== undefined) this.#reached = Math.max(this.#reached, level.usage);
    return level?.next();
  }

  /** Of the levels with somebody who waits and a seat for them, the one that has had the least for its share. */
  #nextLevel(): Level | undefined {
    let least: Level | undefined;
    for (const level of this.#levels.values())
      if (level.waiting > 0 && this.#hasSeat(level) && (least === undefined || level.usage < least.usage))
        least = level;
    return least;
  }

  #hasSeat(level: Level): boolean {
    const { running, nominal } = level;
    if (running < nominal) return true;
    if (running >= nominal + level.borrowingLimit) return false;
    let lent = 0;
    for (const other of this.#levels.values())
      lent += other === level ? nominal - running : other.lendable - Math.max(0, other.running - other.nominal);
    return lent > 0;
  }

  #isBusy(): boolean {
    const now = this.#clock();
    if (this.#turnEnds === undefined) {
      this.#turnEnds = now + this.#turn;
      setImmediate(() => (this.#turnEnds = undefined));
    }
    return now > this.#turnEnds;
  }

  #refuse(exchange: Exchange, { schema }: Flow, reason: string): void {
    const labels = { flow_schema: schema.name, priority_level: schema.level, reason };
    this.#core.metrics.count('apiserver_flowcontrol_rejected_requests_total', labels);
    const text = 'Too many requests, please try again later.';
    sendError(exchange, new StatusError(429, 'TooManyRequests', text, { retryAfterSeconds: 1 }));
  }

  /** What is configured now. Levels go on with what runs and waits in them. */
  #read(): Classifier {
    const all = <T>(kind: typeof flowSchemas | typeof priorityLevelConfigurations): T[] =>
      [...this.#core.cache.resource(kindPrefix(kind)).objects.values()].map(
        (object) => objectOf(object) as unknown as T,
      );
    const settings = all<PriorityLevelConfiguration>(priorityLevelConfigurations).map(settingsOf);
    const shares = settings.reduce((sum, one) => sum + one.shares, 0);
    const names = new Set(settings.map(({ name }) => name));
    for (const [name, level] of this.#levels)
      if (!names.has(name) && level.running === 0 && level.waiting === 0) this.#levels.delete(name);
    for (const one of settings) {
      const level = this.#levels.get(one.name) ?? new Level(one);
      level.settings = one;
      level.nominal = Math.ceil((this.#seats * one.shares) / Math.max(1, shares));
      this.#levels.set(one.name, level);
    }
    const schemas = all<FlowSchema>(flowSchemas).map(schemaOf);
    // One that names no level counts for nobody.
    this.#classifier = new Classifier(schemas.filter(({ level }) => names.has(level)));
    return this.#classifier;
  }
}
