// The policy API types of Kubernetes 1.30: one interface for each schema, field for field.
import type { DeleteOptions, ObjectMeta } from './meta.ts';

export interface Eviction {
  apiVersion?: string;
  deleteOptions?: DeleteOptions;
  kind?: string;
  metadata: ObjectMeta;
}
