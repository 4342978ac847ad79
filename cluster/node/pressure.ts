/**
 * When this node lacks memory, disk or process numbers: what it observes, and which thresholds that crosses. Pure but for `observe`.
 * https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
 */
import { readFile, statfs } from 'node:fs/promises';
import { parseQuantity } from './quantity.ts';

export type Signal = 'memory.available' | 'nodefs.available' | 'nodefs.inodesFree' | 'pid.available';
export type PressureCondition = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';

/** A quantity, or a percentage of the capacity: `100Mi`, `10%`. */
export type Thresholds = Partial<Record<Signal, string>>;

/** As upstream's, but for the disk: a tenth of a large one is not scarce, and 2Gi is what two writable layers may take. */
export const defaultThresholds: Thresholds = {
  'memory.available': '100Mi',
  'nodefs.available': '2Gi',
  'nodefs.inodesFree': '5%',
};

export const conditionOfSignal: Record<Signal, PressureCondition> = {
  'memory.available': 'MemoryPressure',
  'nodefs.available': 'DiskPressure',
  'nodefs.inodesFree': 'DiskPressure',
  'pid.available': 'PIDPressure',
};

/** As upstream names what is scarce, in messages. */
export const resourceOfSignal: Record<Signal, string> = {
  'memory.available': 'memory',
  'nodefs.available': 'ephemeral-storage',
  'nodefs.inodesFree': 'inodes',
  'pid.available': 'pids',
};

export interface Observation {
  available: number;
  capacity: number;
}

export type NodeObservations = Record<Signal, Observation>;

export interface CrossedThreshold {
  signal: Signal;
  /** In the signal's unit. */
  threshold: number;
  available: number;
}

/** The worst first: memory, as it is the most urgent. */
const urgency: readonly Signal[] = ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'pid.available'];

/** In the signal's unit. @throws AgentError where it is neither a quantity nor a percentage */
export function thresholdOf(text: string | undefined, capacity: number): number | undefined {
  if (text === undefined) return undefined;
  return text.endsWith('%') ? (capacity * parseQuantity(text.slice(0, -1))) / 100 : parseQuantity(text);
}

/** @throws AgentError where a threshold is neither a quantity nor a percentage */
export function crossed(observations: NodeObservations, thresholds: Thresholds): CrossedThreshold[] {
  return urgency.flatMap((signal) => {
    const text = thresholds[signal];
    if (text === undefined) return [];
    const { available, capacity } = observations[signal];
    const threshold = thresholdOf(text, capacity) ?? 0;
    return available < threshold ? [{ signal, threshold, available }] : [];
  });
}

export async function observe(directory: string): Promise<NodeObservations> {
  const [disk, memory, load, limit] = await Promise.all([
    statfs(directory),
    readFile('/proc/meminfo', 'utf8'),
    readFile('/proc/loadavg', 'utf8'),
    readFile('/proc/sys/kernel/pid_max', 'utf8'),
  ]);
  const kibibytes = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0);
  // proc(5): the fourth field is `running/all`.
  const processes = Number(load.split(' ')[3]?.split('/')[1] ?? 0);
  return {
    'memory.available': { available: kibibytes('MemAvailable') * 1024, capacity: kibibytes('MemTotal') * 1024 },
    'nodefs.available': { available: disk.bavail * disk.bsize, capacity: disk.blocks * disk.bsize },
    // Some file systems have no such number, and say 0 of 0.
    'nodefs.inodesFree': { available: disk.ffree, capacity: disk.files },
    'pid.available': { available: Number(limit) - processes, capacity: Number(limit) },
  };
}

/** Which of the thresholds that are crossed have been so for long enough. */
export class CrossedSince {
  readonly #since = new Map<Signal, number>();

  lasting(found: readonly CrossedThreshold[], grace: Partial<Record<Signal, number>>, now: number): CrossedThreshold[] {
    for (const signal of this.#since.keys())
      if (!found.some((one) => one.signal === signal)) this.#since.delete(signal);
    return found.filter(({ signal }) => {
      const since = this.#since.get(signal) ?? now;
      this.#since.set(signal, since);
      return now - since >= (grace[signal] ?? 0);
    });
  }
}

/**
 * Conditions of the node: true as long as a threshold is crossed, and for a while after, so that pods are not sent to a node that
 * swings to and fro.
 */
export class PressureConditions {
  readonly #transition: number;
  readonly #seen = new Map<PressureCondition, number>();
  #told = '';

  constructor(transitionMilliseconds: number) {
    this.#transition = transitionMilliseconds;
  }

  /** Returns whether one changed since the last time. */
  update(thresholds: readonly CrossedThreshold[], now: number): boolean {
    for (const { signal } of thresholds) this.#seen.set(conditionOfSignal[signal], now);
    const before = this.#told;
    this.#told = this.current(now).join();
    return this.#told !== before;
  }

  current(now: number): PressureCondition[] {
    const all: PressureCondition[] = ['MemoryPressure', 'DiskPressure', 'PIDPressure'];
    return all.filter((condition) => {
      const at = this.#seen.get(condition);
      return at !== undefined && now - at < this.#transition;
    });
  }
}
