/**
 * Is what the clients of a store were told true? Checks operations of many clients, each with the times between which it happened,
 * against the store's own history. Each key is a register; the history gives the order of its writes, so what is left to find is
 * one moment of the history for each operation: between its begin and its end, after those of all operations that had ended before
 * it began, and such that it saw what it says.
 */
export interface Operation {
  verb: 'create' | 'update' | 'delete' | 'get';
  key: string;
  /** Of create and update; no two operations write the same. */
  value?: string;
  /** Of update and delete. */
  expected?: number;
  /** By one clock. */
  begun: number;
  outcome: Outcome;
}

export type Outcome =
  /** It was written, with this revision. */
  | { told: 'written'; ended: number; revision: number }
  /** By a get, or by a write that was refused because of it. 0: the key is not there. */
  | { told: 'seen'; ended: number; revision: number; value?: string }
  /** It did not happen. */
  | { told: 'not-done'; ended: number }
  /** Nobody says; it may also happen later. */
  | { told: 'unknown' };

export interface HistoryEvent {
  type: 'create' | 'update' | 'delete';
  key: string;
  value: string;
  revision: number;
  /** 0 for a create. */
  previous: number;
}

export interface Register {
  revision: number;
  value: string;
}

export interface Checked {
  /** What is not true. */
  complaints: string[];
  /** Nobody knows, and they did not happen yet. */
  unsettled: Operation[];
}

/** @param initial  the registers before the first event */
export function checkHistory(
  initial: ReadonlyMap<string, Register>,
  events: readonly HistoryEvent[],
  operations: readonly Operation[],
): Checked {
  const complaints = [...chainComplaints(initial, events)];
  const { writer, unsettled, complaints: unclaimed } = attribute(events, operations);
  complaints.push(...unclaimed);
  complaints.push(...orderComplaints(timelines(initial, events), operations, writer));
  return { complaints, unsettled };
}

/** Revisions grow, and each event follows from the one before it. */
function* chainComplaints(initial: ReadonlyMap<string, Register>, events: readonly HistoryEvent[]): Generator<string> {
  const current = new Map([...initial].map(([key, { revision }]) => [key, revision]));
  let last = 0;
  for (const event of events) {
    if (event.revision <= last) yield `${show(event)} comes after revision ${last}`;
    last = event.revision;
    const before = current.get(event.key) ?? 0;
    if (event.previous !== before) yield `${show(event)} replaces revision ${event.previous}; there was ${before}`;
    if ((event.type === 'create') !== (before === 0)) yield `${show(event)} of a key that had revision ${before}`;
    current.set(event.key, event.type === 'delete' ? 0 : event.revision);
  }
}

/** Whose was each event? Every one that was told as written is there, and nothing else but what nobody knows of. */
function attribute(events: readonly HistoryEvent[], operations: readonly Operation[]) {
  const complaints: string[] = [];
  const writer = new Map<Operation, HistoryEvent>();
  const byRevision = new Map(events.map((event) => [event.revision, event]));
  const unclaimed = new Set(events);
  for (const operation of operations) {
    if (operation.outcome.told !== 'written') continue;
    const event = byRevision.get(operation.outcome.revision);
    if (event === undefined || !isOf(event, operation) || !unclaimed.delete(event))
      complaints.push(`${show(operation)} was acknowledged, and history has ${event ? show(event) : 'nothing'}`);
    else writer.set(operation, event);
  }
  const unknown = new Set(operations.filter(({ verb, outcome }) => outcome.told === 'unknown' && verb !== 'get'));
  for (const event of unclaimed) {
    const own = [...unknown].find((operation) => isOf(event, operation));
    if (own === undefined)
      complaints.push(`${show(event)} was written by nobody, or by one who was told that it was not`);
    else {
      unknown.delete(own);
      writer.set(own, event);
    }
  }
  return { complaints, writer, unsettled: [...unknown] };
}

function isOf(event: HistoryEvent, { verb, key, value, expected = 0 }: Operation): boolean {
  return (
    event.type === verb &&
    event.key === key &&
    event.previous === expected &&
    (verb === 'delete' || event.value === value)
  );
}

interface Span {
  from: number;
  until: number;
  /** 0: nothing is there. */
  revision: number;
  value: string | undefined;
}

/** What each key holds when, in revisions. */
function timelines(
  initial: ReadonlyMap<string, Register>,
  events: readonly HistoryEvent[],
): (key: string) => readonly Span[] {
  const spans = new Map<string, Span[]>();
  const of = (key: string): Span[] => {
    let found = spans.get(key);
    if (found === undefined) {
      const { revision, value } = initial.get(key) ?? { revision: 0, value: undefined };
      found = [{ from: 0, until: Number.POSITIVE_INFINITY, revision, value }];
      spans.set(key, found);
    }
    return found;
  };
  for (const { key, type, revision, value } of events) {
    const known = of(key);
    (known.at(-1) as Span).until = revision;
    const gone = type === 'delete';
    known.push({
      from: revision,
      until: Number.POSITIVE_INFINITY,
      revision: gone ? 0 : revision,
      value: gone ? undefined : value,
    });
  }
  return of;
}

/** Gives each operation the earliest moment that it can have: a later one would only leave less room for those that follow. */
function* orderComplaints(
  timeline: (key: string) => readonly Span[],
  operations: readonly Operation[],
  writer: ReadonlyMap<Operation, HistoryEvent>,
): Generator<string> {
  /** By their ends, the first last. */
  const byEnd: Placed[] = [];
  let bound: Placed | undefined;
  for (const operation of operations.toSorted((a, b) => a.begun - b.begun)) {
    for (let one = byEnd.at(-1); one !== undefined && one.ended < operation.begun; one = byEnd.at(-1)) {
      byEnd.pop();
      if (bound === undefined || one.moment > bound.moment) bound = one;
    }
    const least = bound?.moment ?? 0;
    const { outcome } = operation;
    const event = writer.get(operation);
    let moment: number | undefined;
    if (event !== undefined) moment = event.revision > least ? event.revision : undefined;
    else if (outcome.told === 'seen') {
      const span = timeline(operation.key).find(
        (one) => one.until > least && one.revision === outcome.revision && sameValue(one, outcome),
      );
      moment = span && Math.max(span.from, least);
    } else continue;
    if (moment === undefined)
      yield `${show(operation)} cannot be after what had ended before it began: ${bound ? show(bound.operation) : ''}`;
    else if ('ended' in outcome) insert(byEnd, { ended: outcome.ended, moment, operation });
  }
}

interface Placed {
  ended: number;
  moment: number;
  operation: Operation;
}

/** There are as many as clients: a search would not be faster. */
function insert(byEnd: Placed[], placed: Placed): void {
  let at = byEnd.length;
  while (at > 0 && (byEnd[at - 1] as Placed).ended < placed.ended) at--;
  byEnd.splice(at, 0, placed);
}

function sameValue(span: Span, { value }: { value?: string }): boolean {
  return value === undefined || value === span.value;
}

function show(what: object): string {
  return JSON.stringify(what);
}
