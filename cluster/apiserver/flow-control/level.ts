/**
 * One priority level: how many of its requests run, and who of those that wait is next.
 *
 * Its seats are its share of the server's. Seats of others that they lend and do not use are taken too, up to the level's limit. What
 * finds no seat stands in the line of its flow, and the line that has had the least time is next; one that was not there begins where
 * the others are, so nobody saves up.
 *
 * Upstream deals each flow a hand of queues that it may share with others, as its flows are too many to have one each. Here a line is there
 * while somebody stands in it, so flows never get in each other's way; queues, hands and lengths say only how much may wait: a flow as
 * much as its hand holds, the level as much as all queues.
 */
import type { PriorityLevelConfiguration } from '../../kinds/types/flowcontrol.ts';
import type { Flow } from './classify.ts';

/** Starts it; the level counts it as running. */
export type Waiting = () => void;

export interface Line {
  key: string;
  waiting: Waiting[];
  running: number;
  /** Milliseconds that its requests ran, counted on from where the level was when it came. */
  served: number;
}

export interface LevelSettings {
  name: string;
  uid: string;
  exempt: boolean;
  shares: number;
  lendablePercent: number;
  /** Of its own seats; without a limit when undefined. */
  borrowingLimitPercent: number | undefined;
  /** Undefined: what finds no seat is refused. */
  queuing: { queues: number; handSize: number; lengthLimit: number } | undefined;
}

export function settingsOf({ metadata, spec }: PriorityLevelConfiguration): LevelSettings {
  const limited = spec?.limited;
  const { queuing, type } = limited?.limitResponse ?? {};
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    exempt: spec?.type === 'Exempt',
    shares: (limited ?? spec?.exempt)?.nominalConcurrencyShares ?? (limited === undefined ? 0 : 30),
    lendablePercent: (limited ?? spec?.exempt)?.lendablePercent ?? 0,
    borrowingLimitPercent: limited?.borrowingLimitPercent,
    queuing:
      type === 'Queue'
        ? {
            queues: queuing?.queues ?? 64,
            handSize: queuing?.handSize ?? 8,
            lengthLimit: queuing?.queueLengthLimit ?? 50,
          }
        : undefined,
  };
}

/** What a level that does not queue holds while it has seats, and the server's one thread is busy. */
const SHORT = { queues: 1, handSize: 1, lengthLimit: 50 };

export class Level {
  settings: LevelSettings;
  /** Its share of the server's seats. */
  nominal = 1;
  running = 0;
  waiting = 0;
  /** Milliseconds that its requests ran, for each of its shares; counted on from where the others were when nobody waited in it. */
  usage = 0;
  readonly #lines = new Map<string, Line>();
  /** Where the line is that was last served. */
  #reached = 0;

  constructor(settings: LevelSettings) {
    this.settings = settings;
  }

  /** Seats that others may use at the moment. */
  get lendable(): number {
    return Math.min(
      Math.round((this.nominal * this.settings.lendablePercent) / 100),
      Math.max(0, this.nominal - this.running),
    );
  }

  get borrowingLimit(): number {
    const { borrowingLimitPercent } = this.settings;
    return borrowingLimitPercent === undefined
      ? Number.POSITIVE_INFINITY
      : Math.round((this.nominal * borrowingLimitPercent) / 100);
  }

  /** Puts it at the end of its flow's line; undefined when that is full. */
  add({ schema, distinguisher }: Flow, waiting: Waiting): Line | undefined {
    const { queues, handSize, lengthLimit } = this.settings.queuing ?? SHORT;
    const key = `${schema.name}\n${distinguisher}`;
    const line = this.#lines.get(key) ?? { key, waiting: [], running: 0, served: this.#reached };
    if (line.waiting.length >= handSize * lengthLimit || this.waiting >= queues * lengthLimit) return undefined;
    this.#lines.set(key, line);
    if (line.waiting.length === 0) line.served = Math.max(line.served, this.#reached);
    line.waiting.push(waiting);
    this.waiting++;
    return line;
  }

  /** It waits no longer; nobody else moves. */
  drop(line: Line, waiting: Waiting): void {
    const at = line.waiting.indexOf(waiting);
    if (at < 0) return;
    line.waiting.splice(at, 1);
    this.waiting--;
    this.#forget(line);
  }

  /** Takes out the next one, whose line is taken to run it. */
  next(): Waiting | undefined {
    let least: Line | undefined;
    for (const line of this.#lines.values())
      if (line.waiting.length > 0 && (least === undefined || line.served < least.served)) least = line;
    const found = least?.waiting.shift();
    if (least === undefined || found === undefined) return undefined;
    this.waiting--;
    least.running++;
    this.#reached = Math.max(this.#reached, least.served);
    // Those that start together count before they have ended.
    least.served += EXPECTED;
    return found;
  }

  /** One of the line has ended, after so many milliseconds. */
  ended(line: Line, milliseconds: number): void {
    line.running--;
    line.served += Math.max(0, milliseconds - EXPECTED);
    this.#forget(line);
  }

  #forget(line: Line): void {
    if (line.waiting.length === 0 && line.running === 0) this.#lines.delete(line.key);
  }
}

/** Milliseconds that a request is thought to take at least. */
const EXPECTED = 1;
