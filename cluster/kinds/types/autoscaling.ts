// The autoscaling API types of Kubernetes 1.30: one interface for each schema, field for field.
import type { ObjectMeta } from './meta.ts';

export interface Scale {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec?: ScaleSpec;
  status?: ScaleStatus;
}

export interface ScaleSpec {
  replicas?: number;
}

export interface ScaleStatus {
  replicas: number;
  selector?: string;
}
