/**
 * What nodes and pods use at the moment, from the Summary API of their agents: what metrics-server is elsewhere.
 *
 * Nobody is asked while nobody asks: a reading is taken when one is wanted and the last is older than the resolution. The cpu's
 * usage is the mean between two readings, so the first after a pause (and the first of all) takes two, a second apart; while
 * somebody asks again and again, an autoscaler say, the windows are as long as the resolution. Readers share one reading.
 *
 * A node that does not answer in time, or not in the form of the Summary API, is left out, and told of in the log when it begins
 * not to. A container is left out until its usage is known over a second at least.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../core.ts';
import type { NodeSummary, Sample } from './summary.ts';

/** Over a window that ends at `at`; times in milliseconds. */
export interface Reading {
  at: number;
  window: number;
  nanoCores: number;
  workingSetBytes: number;
}

export interface NodeUsage {
  node: Reading | undefined;
  /** By `<namespace>/<name>`: containers by name; only pods of which every container is known. */
  pods: Map<string, Map<string, Reading>>;
}

export interface UsageOptions {
  /** Those that may answer. */
  nodeNames: () => string[];
  /** Rejects when the node does not answer. */
  summary: (node: string) => Promise<NodeSummary>;
  /** In milliseconds. */
  resolution: number;
  log: Log;
  /** In milliseconds, of a clock that only goes forward. */
  now?: () => number;
}

interface Scrape {
  at: number;
  nodes: Map<string, NodeSummary>;
}

/** Between the two readings after a pause, and the least that a window may be. */
const SHORTEST_WINDOW = 1_000;
/** In resolutions: a window that began earlier would tell of the past. */
const PAUSE = 4;

export class Usage {
  readonly #options: UsageOptions;
  readonly #now: () => number;
  #last: Scrape | undefined;
  #shown = new Map<string, NodeUsage>();
  #refreshing: Promise<void> | undefined;
  readonly #silent = new Set<string>();

  constructor(options: UsageOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** By node; those that did not answer are not in it. */
  async read(): Promise<ReadonlyMap<string, NodeUsage>> {
    const age = this.#last === undefined ? Number.POSITIVE_INFINITY : this.#now() - this.#last.at;
    if (age >= this.#options.resolution)
      await (this.#refreshing ??= this.#refresh(age).finally(() => {
        this.#refreshing = undefined;
      }));
    return this.#shown;
  }

  async #refresh(age: number): Promise<void> {
    let before = this.#last;
    if (before === undefined || age > PAUSE * this.#options.resolution) {
      before = await this.#scrape();
      await delay(SHORTEST_WINDOW);
    }
    const now = await this.#scrape();
    this.#last = now;
    this.#shown = new Map(
      Array.from(now.nodes, ([name, summary]) => [name, usageOf(before.nodes.get(name), summary)] as const),
    );
  }

  async #scrape(): Promise<Scrape> {
    const at = this.#now();
    const nodes = new Map<string, NodeSummary>();
    await Promise.all(
      this.#options.nodeNames().map(async (name) => {
        try {
          nodes.set(name, await this.#options.summary(name));
          this.#silent.delete(name);
        } catch (error) {
          if (this.#silent.has(name)) return;
          this.#silent.add(name);
          this.#options.log('warn', `the usage of node ${name} is not known`, { error: String(error) });
        }
      }),
    );
    return { at, nodes };
  }
}

/** Exported for its test. */
export function usageOf(before: NodeSummary | undefined, now: NodeSummary): NodeUsage {
  const pods: NodeUsage['pods'] = new Map();
  const since = before?.node.at ?? Number.POSITIVE_INFINITY;
  for (const [key, containers] of now.pods) {
    const known = new Map<string, Reading>();
    for (const [name, sample] of containers) {
      const last = before?.pods.get(key)?.get(name);
      // What began since the last reading used all of it since then.
      const begin = { at: sample.startedAt, cpuNanos: 0 };
      const from = last?.startedAt === sample.startedAt ? last : sample.startedAt >= since ? begin : undefined;
      const found = from && reading(from, sample);
      if (found !== undefined) known.set(name, found);
    }
    if (known.size === containers.size && known.size > 0) pods.set(key, known);
  }
  return { node: before && reading(before.node, now.node), pods };
}

function reading(before: Pick<Sample, 'at' | 'cpuNanos'>, now: Sample): Reading | undefined {
  const window = now.at - before.at;
  const nanos = now.cpuNanos - before.cpuNanos;
  // Turned clocks, and counters that began anew.
  if (window < SHORTEST_WINDOW * 0.9 || nanos < 0) return undefined;
  return {
    at: now.at,
    window,
    nanoCores: Math.round((nanos / window) * 1_000),
    workingSetBytes: now.workingSetBytes,
  };
}
