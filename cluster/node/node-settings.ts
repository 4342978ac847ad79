/**
 * What an administrator sets of a node, as of a kubelet, and the room for pods that follows: what the machine has, without what is kept for the
 * system and without what is held back so that nothing is evicted (Kubernetes "Reserve Compute Resources for System Daemons").
 */
import type { Taint } from '../kinds/types/core.ts';
import { defaultThresholds, type Signal, type Thresholds, thresholdOf } from './pressure.ts';
import { bytesOf, milliOf } from './quantity.ts';

export interface NodeSettings {
  /** Default 250. */
  maxPods?: number;
  /** Quantities of `cpu`, `memory` and `ephemeral-storage` that are for nobody's pods. */
  systemReserved?: Readonly<Record<string, string>>;
  /** Of the Node, from its next start on. */
  labels?: Readonly<Record<string, string>>;
  /** Of the Node when it is made. */
  taints?: readonly Taint[];
  /** See `EvictionOptions.thresholds`. */
  thresholds?: Thresholds;
}

/** Cores in thousandths, and bytes. */
export interface NodeCapacity {
  milliCpus: number;
  memoryBytes: number;
  diskBytes: number;
}

export interface NodeRoom {
  capacity: NodeCapacity;
  allocatable: NodeCapacity;
  pods: number;
}

const MAX_PODS = 250;

export function roomOf(capacity: NodeCapacity, settings: NodeSettings): NodeRoom {
  const { maxPods = MAX_PODS, systemReserved = {}, thresholds = defaultThresholds } = settings;
  const held = (signal: Signal, whole: number): number => thresholdOf(thresholds[signal], whole) ?? 0;
  const bytes = (name: string): number => bytesOf(systemReserved[name] ?? '0');
  const left = (whole: number, ...without: number[]): number =>
    Math.max(0, Math.floor(without.reduce((rest, one) => rest - one, whole)));
  return {
    capacity,
    allocatable: {
      ...capacity,
      milliCpus: left(capacity.milliCpus, milliOf(systemReserved['cpu'] ?? '0')),
      memoryBytes: left(capacity.memoryBytes, bytes('memory'), held('memory.available', capacity.memoryBytes)),
      diskBytes: left(capacity.diskBytes, bytes('ephemeral-storage'), held('nodefs.available', capacity.diskBytes)),
    },
    pods: maxPods,
  };
}

/** As a Node's `capacity` and `allocatable` say it. */
export function resourcesOf({ milliCpus, memoryBytes, diskBytes }: NodeCapacity, pods: number): Record<string, string> {
  return {
    cpu: milliCpus % 1000 === 0 ? String(milliCpus / 1000) : `${milliCpus}m`,
    memory: `${Math.floor(memoryBytes / 1024)}Ki`,
    pods: String(pods),
    'ephemeral-storage': `${Math.floor(diskBytes / 1024)}Ki`,
  };
}
