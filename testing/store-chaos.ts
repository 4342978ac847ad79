/**
 * Clients of a store that is killed under them. In each round a program opens the store and lets many clients read and write a
 * few keys while two watches run; somewhere in it the server is killed where there is one, and at the end the program. What the
 * program printed until then is checked against the store's history: see `store-history.ts`.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Entry, type Store, StoreError, type StoreEvent } from '#cluster/store/store.ts';
import { checkHistory, type HistoryEvent, type Operation, type Outcome, type Register } from './store-history.ts';

export interface ChaosDriver {
  open(directory: string): Promise<Store>;
  /** A program that opens the same store and gives it to `chaosClients`. */
  program: URL;
  /** Kills the store's server with signal 9 and starts it anew; absent where the store lives in the program. */
  killServer?: () => Promise<void>;
}

const PREFIX = '/chaos/';
const KEYS = 5;
const CLIENTS = 8;
const WATCHERS = 2;

export async function chaosRounds(driver: ChaosDriver, rounds: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-chaos-'));
  try {
    let unsettled: Operation[] = [];
    for (let round = 0; round < rounds; round++) {
      const told = await runRound(driver, directory, round);
      const after = await readBack(driver, directory, told.revision);
      // What nobody knows may have happened since.
      const operations = [...unsettled.map((one) => ({ ...one, begun: 0 })), ...told.operations];
      const { complaints, unsettled: left } = checkHistory(told.initial, after, operations);
      complaints.push(...watchComplaints(told.watched, after));
      assert.deepEqual(complaints, [], `round ${round}`);
      unsettled = left;
      const written = operations.filter(({ outcome }) => outcome.told === 'written').length;
      assert.ok(written > 0, `round ${round}: nothing was written`);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface Told {
  initial: Map<string, Register>;
  /** At which the program's watches began. */
  revision: number;
  operations: Operation[];
  /** Of each watch, the revisions in their order. */
  watched: number[][];
}

async function runRound(driver: ChaosDriver, directory: string, round: number): Promise<Told> {
  const child = spawn(process.execPath, [driver.program.pathname, directory, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<NodeJS.Signals | null>((resolve) => child.on('exit', (_code, signal) => resolve(signal)));
  const told: Told = { initial: new Map(), revision: -1, operations: [], watched: [] };
  const enough = 150 + ((round * 37) % 200);
  let ended = 0;
  let killing: Promise<void> | undefined;
  for await (const line of lines(child)) {
    if ('initial' in line) {
      told.initial = new Map(line.initial);
      told.revision = line.revision;
    } else if ('watch' in line) (told.watched[line.watch] ??= []).push(...line.revisions);
    else if ('verb' in line) told.operations[line.id] = { ...line, outcome: { told: 'unknown' } };
    else {
      (told.operations[line.id] as Operation).outcome = line.outcome;
      ended++;
    }
    if (killing === undefined && driver.killServer !== undefined && ended >= enough / 2) killing = driver.killServer();
    if (ended === enough) {
      await killing;
      child.kill('SIGKILL');
    }
  }
  assert.equal(await exited, 'SIGKILL');
  return told;
}

type Line =
  | { initial: [string, Register][]; revision: number }
  | { watch: number; revisions: number[] }
  | ({ id: number } & Omit<Operation, 'outcome'>)
  | { id: number; outcome: Outcome };

async function* lines(child: ChildProcess): AsyncGenerator<Line> {
  if (child.stdout === null) throw new Error('its output is read');
  for await (const line of createInterface({ input: child.stdout })) {
    // The last one may be cut off.
    if (line.endsWith('}')) yield JSON.parse(line) as Line;
  }
}

async function readBack(driver: ChaosDriver, directory: string, after: number): Promise<HistoryEvent[]> {
  const store = await driver.open(directory);
  try {
    const { revision } = await store.list(PREFIX);
    return (await eventsUntil(store, after, revision)).map(({ type, entry, previous }) => ({
      type,
      key: entry.key,
      value: text(entry),
      revision: entry.revision,
      previous: previous?.revision ?? 0,
    }));
  } finally {
    await store.close();
  }
}

async function eventsUntil(store: Store, after: number, until: number): Promise<StoreEvent[]> {
  const events: StoreEvent[] = [];
  if (after === until) return events;
  const stop = new AbortController();
  for await (const batch of store.watch(PREFIX, { after, signal: stop.signal })) {
    events.push(...batch.events);
    if (batch.revision >= until) break;
  }
  return events;
}

/** A watch saw the history from its beginning, up to where it was killed. */
function watchComplaints(watched: number[][], history: HistoryEvent[]): string[] {
  assert.equal(watched.length, WATCHERS);
  const all = history.map(({ revision }) => revision);
  return watched
    .filter((revisions) => revisions.join() !== all.slice(0, revisions.length).join())
    .map((revisions) => `a watch saw ${revisions.join()}, history is ${all.join()}`);
}

/** The body of a driver's program: clients that print what they begin and what they are told, until somebody kills them. */
export async function chaosClients(store: Store, round: string): Promise<void> {
  const { entries, revision } = await store.list(PREFIX);
  print({ initial: entries.map((entry) => [entry.key, { revision: entry.revision, value: text(entry) }]), revision });
  let id = 0;
  const watchers = Array.from({ length: WATCHERS }, async (_, watch) => {
    print({ watch, revisions: [] });
    for await (const batch of store.watch(PREFIX, { after: revision, signal: new AbortController().signal }))
      print({ watch, revisions: batch.events.map((event) => event.entry.revision) });
  });
  const clients = Array.from({ length: CLIENTS }, async () => {
    /** What this client saw last; others change it. */
    const known = new Map<string, number>();
    for (;;) {
      const own = id++;
      const wanted = choose(known, `${round}-${own}`);
      print({ id: own, ...wanted, begun: performance.now() });
      const outcome = await attempt(store, wanted);
      print({ id: own, outcome });
      if ('revision' in outcome)
        known.set(wanted.key, wanted.verb === 'delete' && outcome.told === 'written' ? 0 : outcome.revision);
    }
  });
  await Promise.all([...watchers, ...clients]);
}

type Wanted = Omit<Operation, 'begun' | 'outcome'>;

function choose(known: Map<string, number>, value: string): Wanted {
  const key = `${PREFIX}${Math.floor(Math.random() * KEYS)}`;
  const expected = known.get(key);
  const dice = Math.random();
  if (expected === undefined || dice < 0.3) return { verb: 'get', key };
  if (expected === 0) return { verb: 'create', key, value };
  return dice < 0.9 ? { verb: 'update', key, value, expected } : { verb: 'delete', key, expected };
}

async function attempt(store: Store, { verb, key, value = '', expected = 0 }: Wanted): Promise<Outcome> {
  const bytes = Buffer.from(value);
  try {
    if (verb === 'get') {
      const found = await store.get(key);
      return seen(found);
    }
    const { revision } =
      verb === 'create'
        ? await store.create(key, bytes)
        : verb === 'update'
          ? await store.update(key, bytes, expected)
          : await store.delete(key, expected);
    return { told: 'written', ended: performance.now(), revision };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.code === 'unknown') return { told: 'unknown' };
    if (error.code === 'unavailable') return { told: 'not-done', ended: performance.now() };
    if (error.code === 'not-found') return seen(undefined);
    if (error.code === 'exists' || error.code === 'conflict') return seen(error.entry);
    throw error;
  }
}

function seen(entry: Entry | undefined): Outcome {
  const ended = performance.now();
  return entry === undefined
    ? { told: 'seen', ended, revision: 0 }
    : { told: 'seen', ended, revision: entry.revision, value: text(entry) };
}

const text = (entry: Entry): string => Buffer.from(entry.value).toString();

/** At once, also where the reader is slow: what is printed was printed, whatever happens next. `process.stdout` would keep it back. */
function print(line: Line): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
