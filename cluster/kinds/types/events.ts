// The events API types of Kubernetes 1.30: one interface for each schema, field for field.
import type { EventSource, ObjectReference } from './core.ts';
import type { ListMeta, MicroTime, ObjectMeta, Time } from './meta.ts';

export interface EventsEvent {
  action?: string;
  apiVersion?: string;
  deprecatedCount?: number;
  deprecatedFirstTimestamp?: Time;
  deprecatedLastTimestamp?: Time;
  deprecatedSource?: EventSource;
  eventTime: MicroTime;
  kind?: string;
  metadata: ObjectMeta;
  note?: string;
  reason?: string;
  regarding?: ObjectReference;
  related?: ObjectReference;
  reportingController?: string;
  reportingInstance?: string;
  series?: EventSeries;
  type?: string;
}

export interface EventSeries {
  count: number;
  lastObservedTime: MicroTime;
}

export interface EventsEventList {
  apiVersion?: string;
  items: EventsEvent[];
  kind?: string;
  metadata: ListMeta;
}
