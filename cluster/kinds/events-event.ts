/** Events of events.k8s.io/v1: the core Events under other field names. */
import { defineKind } from './define.ts';
import { eventKind } from './event.ts';
import type { ApiObject } from './kind.ts';
import { events, eventsEvents } from './resources.ts';

/** This group's name of a field, and the core one's. */
const NAMES: readonly (readonly [string, string])[] = [
  ['regarding', 'involvedObject'],
  ['note', 'message'],
  ['reportingController', 'reportingComponent'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
];
const TO_CORE = new Map(NAMES);
const FROM_CORE = new Map(NAMES.map(([own, core]) => [core, own] as const));
const OBJECT_FIELDS = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];

const FIELDS: Readonly<Record<string, string>> = {
  reason: 'reason',
  type: 'type',
  reportingController: 'reportingComponent',
  ...Object.fromEntries(OBJECT_FIELDS.map((field) => [`regarding.${field}`, `involvedObject.${field}`])),
};

export const eventsEventKind = defineKind(eventsEvents, {
  schemaName: 'io.k8s.api.events.v1.Event',
  createOnUpdate: true,
  shortNames: ['ev'],
  columns: eventKind.columns,
  stored: {
    as: events,
    write: (object) => renamed(object, TO_CORE),
    read: (stored) => renamed(stored, FROM_CORE),
    fields: FIELDS,
  },
});

function renamed(object: ApiObject, names: ReadonlyMap<string, string>): ApiObject {
  return Object.fromEntries(
    Object.entries(object).map(([field, value]) => [names.get(field) ?? field, value]),
  ) as unknown as ApiObject;
}
