// The storage API types of Kubernetes 1.30: one interface for each schema, field for field.
import type { TopologySelectorTerm } from './core.ts';
import type { ListMeta, ObjectMeta } from './meta.ts';

export interface StorageClass {
  allowVolumeExpansion?: boolean;
  allowedTopologies?: TopologySelectorTerm[];
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  mountOptions?: string[];
  parameters?: Record<string, string>;
  provisioner: string;
  reclaimPolicy?: string;
  volumeBindingMode?: string;
}

export interface StorageClassList {
  apiVersion?: string;
  items: StorageClass[];
  kind?: string;
  metadata: ListMeta;
}
