// The scheduling API types of Kubernetes 1.30: one interface for each schema, field for field.
import type { ListMeta, ObjectMeta } from './meta.ts';

export interface PriorityClass {
  apiVersion?: string;
  description?: string;
  globalDefault?: boolean;
  kind?: string;
  metadata: ObjectMeta;
  preemptionPolicy?: string;
  value: number;
}

export interface PriorityClassList {
  apiVersion?: string;
  items: PriorityClass[];
  kind?: string;
  metadata: ListMeta;
}
