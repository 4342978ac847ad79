// The metrics.k8s.io/v1beta1 API types (kubernetes/metrics), field for field.
import type { ObjectMeta, Quantity, Time } from './meta.ts';

export interface NodeMetrics {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  timestamp: Time;
  /** A Go duration: usage of the cpu is the mean over it, up to `timestamp`. */
  window: string;
  usage: ResourceUsage;
}

export interface PodMetrics {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  timestamp: Time;
  window: string;
  containers: ContainerMetrics[];
}

export interface ContainerMetrics {
  name: string;
  usage: ResourceUsage;
}

/** A ResourceList. */
export interface ResourceUsage {
  cpu: Quantity;
  memory: Quantity;
}
