/**
 * A small fuzzer for parsers of untrusted bytes: inputs are made from a corpus by seeded mutation, and a parser may
 * answer each of them with a result or with one of its own errors, in bounded time. Anything else fails the test, and
 * the message says where the input lies: keep it in the corpus, where it is tried first from then on.
 *
 * Who reaches something new is bred from: an input whose outcome was not seen before (what `run` returned, or the
 * refusal's message without its numbers and quotations) joins the pool. The same seed gives the same inputs;
 * `SAMPAN_FUZZ_SEED` gives others.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

export interface Fuzz {
  /** Of the parser, for messages. */
  name: string;
  /** Each is tried as it is, then bred from. Text stands for its UTF-8. */
  corpus: Iterable<Uint8Array | string>;
  /** How many are tried besides the corpus. */
  inputs: number;
  /** Hands the input to the parser. What it returns tells outcomes apart; short texts do best. */
  run: (input: Buffer) => unknown;
  /** Whether the parser may refuse an input with this error. Default: never. */
  refuses?: (error: unknown) => boolean;
  /** Words of the format, put in at random places. */
  dictionary?: readonly string[];
  /** Default 64 KiB. */
  largestInput?: number;
  /** One input that takes more of the processor's time is a failure. Default 2 s. */
  slowMilliseconds?: number;
  seed?: number;
}

export interface FuzzReport {
  inputs: number;
  refused: number;
  outcomes: number;
}

const MOST_BRED_FROM = 2000;

/** @throws Error that names the input, where the parser fails in another way than by refusing */
export async function fuzz(options: Fuzz): Promise<FuzzReport> {
  const seed = options.seed ?? (Number(process.env['SAMPAN_FUZZ_SEED'] ?? '') || 1);
  const random = randomNumbers(seed);
  const pool: Buffer[] = Array.from(options.corpus, (input) => Buffer.from(input as Uint8Array));
  if (pool.length === 0) throw new Error(`fuzz ${options.name}: the corpus is empty; give one input at least`);
  const mutate: (pool: readonly Buffer[]) => Buffer = mutator(random, options);
  const outcomes = new Set<string>();
  const report = { inputs: 0, refused: 0, outcomes: 0 };
  const attempt = async (input: Buffer): Promise<boolean> => {
    const begun = process.cpuUsage();
    let outcome: string;
    try {
      const result = options.run(Buffer.from(input));
      outcome = `= ${String(result instanceof Promise ? await result : result)}`;
    } catch (error) {
      if (options.refuses?.(error) !== true) throw failure(options.name, seed, input, error);
      report.refused += 1;
      outcome = `! ${kindOf(error)}`;
    }
    const { user, system } = process.cpuUsage(begun);
    const took = (user + system) / 1000;
    if (took > (options.slowMilliseconds ?? 2000))
      throw failure(options.name, seed, input, new Error(`it took ${Math.round(took)} ms`));
    report.inputs += 1;
    if (outcomes.has(outcome)) return false;
    outcomes.add(outcome);
    return true;
  };
  for (const input of [...pool]) await attempt(input);
  for (let round = 0; round < options.inputs; round += 1) {
    const input = mutate(pool);
    if ((await attempt(input)) && pool.length < MOST_BRED_FROM) pool.push(input);
    if (round % 1024 === 0) await setImmediate();
  }
  return { ...report, outcomes: outcomes.size };
}

/** The files of a directory, in the order of their names. */
export function readCorpus(directory: string): Buffer[] {
  return readdirSync(directory)
    .sort()
    .map((name) => readFileSync(join(directory, name)));
}

function failure(name: string, seed: number, input: Buffer, cause: unknown): Error {
  const digest = createHash('sha256').update(input).digest('hex').slice(0, 12);
  const path = join(mkdtempSync(join(tmpdir(), 'fuzz-')), `${name.replace(/\W+/g, '-')}-${digest}`);
  writeFileSync(path, input);
  return new Error(
    `fuzz ${name} (seed ${seed}): ${String(cause)}; the input is ${path}: keep it in the corpus when this is mended`,
    { cause },
  );
}

function kindOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/[0-9a-f]*\d[0-9a-f]*/gi, '0');
}

type Random = (below: number) => number;

/** Marsaglia's xorshift with the shifts 13, 17, 5; its state is never 0. */
function randomNumbers(seed: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const BYTES = [0, 1, 9, 10, 13, 0x20, 0x22, 0x25, 0x2e, 0x2f, 0x30, 0x39, 0x3a, 0x5c, 0x7b, 0x7d, 0x7f, 0x80, 0xff];
const NUMBERS = ['0', '-1', '1', '4294967296', '9007199254740993', '1e309', '99999999999999999999', '0x10', '٣'];

function mutator(random: Random, options: Fuzz): (pool: readonly Buffer[]) => Buffer {
  const largest = options.largestInput ?? 64 * 1024;
  const words = [...(options.dictionary ?? []), ...NUMBERS].map((word) => Buffer.from(word));
  const place = (input: Buffer): number => random(input.length + 1);
  const span = (input: Buffer): [number, number] => {
    const from = place(input);
    // Short spans are likely, and the whole is possible.
    const length = random(4) === 0 ? random(input.length - from + 1) : random(Math.min(16, input.length - from) + 1);
    return [from, from + length];
  };
  const replaced = (input: Buffer, from: number, to: number, middle: Uint8Array): Buffer =>
    Buffer.concat([input.subarray(0, from), middle, input.subarray(to)]);
  const changes: ((input: Buffer, pool: readonly Buffer[]) => Buffer)[] = [
    (input) => {
      if (input.length > 0) input[random(input.length)] = random(256);
      return input;
    },
    (input) => {
      const at = random(input.length || 1);
      if (input.length > 0) input[at] = (input[at] ?? 0) ^ (1 << random(8));
      return input;
    },
    (input) => {
      if (input.length > 0) input[random(input.length)] = BYTES[random(BYTES.length)] ?? 0;
      return input;
    },
    (input) => replaced(input, ...span(input), Buffer.alloc(0)),
    (input) => {
      const [from, to] = span(input);
      const times = random(8) === 0 ? random(200) : 1;
      const copies = Array.from({ length: times }, () => input.subarray(from, to));
      return replaced(input, to, to, Buffer.concat(copies).subarray(0, largest));
    },
    (input) => {
      const at = place(input);
      return replaced(input, at, at, words[random(words.length)] ?? Buffer.alloc(0));
    },
    (input) => replaced(input, ...span(input), words[random(words.length)] ?? Buffer.alloc(0)),
    (input) => {
      const at = place(input);
      return replaced(input, at, at, Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256))));
    },
    (input) => input.subarray(0, place(input)),
    (input, pool) => {
      const other = pool[random(pool.length)] ?? input;
      const [from, to] = span(other);
      return replaced(input, ...span(input), other.subarray(from, to));
    },
    (input, pool) => {
      const other = pool[random(pool.length)] ?? input;
      return Buffer.concat([input.subarray(0, place(input)), other.subarray(place(other))]);
    },
  ];
  return (pool) => {
    let input: Buffer = Buffer.from(pool[random(pool.length)] ?? Buffer.alloc(0));
    for (let change = 0; change <= random(4); change += 1) {
      input = changes[random(changes.length)]?.(Buffer.from(input), pool) ?? input;
    }
    return input.subarray(0, largest);
  };
}
