/**
 * Looks every few seconds whether the node lacks memory, disk or process numbers. Then it says so in the node's conditions, frees
 * what nobody uses (of disk), and, where that was not enough, evicts one pod at a time until it is.
 */
import type { Container } from '#engine/engine.ts';
import type { NodeContext } from './context.ts';
import { isNotFound, messageOf } from './errors.ts';
import { type Candidate, evictionMessage, type PodUsage, rank } from './eviction-rank.ts';
import { containerNameLabel } from './labels.ts';
import type { PodWorkers } from './pods.ts';
import { allDefinitions } from './records.ts';
import {
  type CrossedThreshold,
  CrossedSince,
  crossed,
  defaultThresholds,
  type NodeObservations,
  observe,
  PressureConditions,
  type PressureCondition,
  type Signal,
  type Thresholds,
} from './pressure.ts';
import type { PodWorker } from './worker.ts';

export interface EvictionOptions {
  /** Hard ones, which count at once; default: 100Mi of memory, 2Gi of disk, a twentieth of its inodes. */
  thresholds?: Thresholds;
  /** Soft ones, which count when they have been crossed for a while, and leave pods a grace. */
  soft?: SoftEviction;
  /** Milliseconds between two looks; default 10,000. */
  period?: number;
  /** Milliseconds for which a condition outlasts its cause; default 300,000. */
  transition?: number;
  /** For tests: what the node would observe. */
  observe?: () => Promise<NodeObservations>;
}

export interface SoftEviction {
  thresholds: Thresholds;
  /** Of each of them. */
  graceMilliseconds: Partial<Record<Signal, number>>;
  /** The longest that a pod has to end; default 0. */
  maxPodGraceSeconds?: number;
}

export interface EvictionInput extends EvictionOptions {
  context: NodeContext;
  workers: PodWorkers;
  /** The node's conditions changed. */
  onChange: () => void;
}

export class Eviction {
  readonly #input: EvictionInput;
  readonly #conditions: PressureConditions;
  readonly #softSince = new CrossedSince();
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(input: EvictionInput) {
    this.#input = input;
    this.#conditions = new PressureConditions(input.transition ?? 300_000);
  }

  start(): void {
    this.#arm(0);
  }

  /** Of the node, as long as they hold. */
  get conditions(): PressureCondition[] {
    return this.#conditions.current(performance.now());
  }

  async close(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #arm(delay = this.#input.period ?? 10_000): void {
    if (this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look()
        .catch((error: unknown) =>
          this.#input.context.log('warn', 'the node could not be looked at for pressure', { error: messageOf(error) }),
        )
        .finally(() => this.#arm());
    }, delay);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    let found = await this.#crossed();
    if (this.#conditions.update(found, performance.now())) this.#input.onChange();
    if (found.some(isDisk)) found = await this.#freeImages(found);
    const [first] = found;
    if (first !== undefined) await this.#evictOne(first);
  }

  /** Those that count now, hard ones before soft ones. */
  async #crossed(): Promise<Counted[]> {
    const { context, observe: own, thresholds, soft } = this.#input;
    const observations = own === undefined ? await observe(context.dataDirectory) : await own();
    const hard = crossed(observations, thresholds ?? defaultThresholds).map((one) => ({ ...one, maxGraceSeconds: 0 }));
    if (soft === undefined) return hard;
    const lasting = this.#softSince.lasting(crossed(observations, soft.thresholds), soft.graceMilliseconds, Date.now());
    return [...hard, ...lasting.map((one) => ({ ...one, maxGraceSeconds: soft.maxPodGraceSeconds ?? 0 }))];
  }

  /** What no container has and no pod here asks for, the oldest first, until there is room. Returns what is crossed then. */
  async #freeImages(before: Counted[]): Promise<Counted[]> {
    const { context, workers } = this.#input;
    const { engine, log } = context;
    const wanted = workers
      .all()
      .flatMap(({ pod }) => allDefinitions(pod).map(({ image = '' }) => engine.images.get(image)));
    const used = new Set([
      ...engine.containers().map(({ imageDigest }) => imageDigest),
      ...wanted.map((one) => one?.digest),
    ]);
    let found = before;
    for (const image of engine.images.list().sort((a, b) => a.createdAt - b.createdAt)) {
      if (used.has(image.digest)) continue;
      try {
        for (const reference of image.references) await engine.images.remove(reference);
      } catch (error) {
        // A container was made of it meanwhile.
        if (!isNotFound(error)) log('warn', 'an image was not removed', { image: image.id, error: messageOf(error) });
        continue;
      }
      found = await this.#crossed();
      if (!found.some(isDisk)) break;
    }
    return found;
  }

  async #evictOne(threshold: Counted): Promise<void> {
    const { context, workers } = this.#input;
    // One that goes already frees something: it is waited for before another is taken.
    if (workers.all().some((worker) => worker.isEvicted)) return;
    const running = workers.all().filter((worker) => worker.isRunning);
    const candidates = await Promise.all(running.map((worker) => candidateOf(context, worker)));
    const [chosen] = rank(candidates, threshold.signal);
    const worker = running.find(({ pod }) => pod === chosen?.pod);
    if (chosen === undefined || worker === undefined) {
      context.log('warn', 'the node is under pressure, and no pod can be evicted', { signal: threshold.signal });
      return;
    }
    const own = worker.pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE;
    worker.evict(evictionMessage(chosen, threshold), Math.min(own, threshold.maxGraceSeconds));
  }
}

/** How long the pod may take to end, at most. */
type Counted = CrossedThreshold & { maxGraceSeconds: number };

const DEFAULT_GRACE = 30;

function isDisk({ signal }: CrossedThreshold): boolean {
  return signal.startsWith('nodefs.');
}

async function candidateOf({ engine }: NodeContext, worker: PodWorker): Promise<Candidate> {
  const sandbox = worker.sandbox()?.id;
  const isOwn = ({ sandbox: owner, labels, state }: Container): boolean =>
    owner === sandbox && state === 'running' && labels[containerNameLabel] !== undefined;
  const containers = await Promise.all(
    engine
      .containers()
      .filter(isOwn)
      .map(async ({ id, labels }) => {
        const stats = await engine.stats(id).catch((error: unknown) => {
          if (isNotFound(error)) return undefined;
          throw error;
        });
        const usage: PodUsage = {
          memoryBytes: stats?.memoryBytes ?? 0,
          diskBytes: stats?.diskBytes ?? 0,
          processes: stats?.pids ?? 0,
        };
        return { name: labels[containerNameLabel] ?? '', usage };
      }),
  );
  const usage = containers.reduce<PodUsage>(
    (sum, one) => ({
      memoryBytes: sum.memoryBytes + one.usage.memoryBytes,
      diskBytes: sum.diskBytes + one.usage.diskBytes,
      processes: sum.processes + one.usage.processes,
    }),
    { memoryBytes: 0, diskBytes: 0, processes: 0 },
  );
  return { pod: worker.pod, usage, containers };
}
