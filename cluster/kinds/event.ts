import { age, column } from './columns.ts';
import { defineKind } from './define.ts';
import { invalid } from './field-errors.ts';
import { events } from './resources.ts';
import type { Event } from './types/core.ts';

export const eventKind = defineKind(events, {
  schemaName: 'io.k8s.api.core.v1.Event',
  createOnUpdate: true,
  shortNames: ['ev'],
  columns: [
    column<Event>('Last Seen', 'string', lastSeen, { description: 'Time since it was last observed.' }),
    column<Event>('Type', 'string', (event) => event.type ?? ''),
    column<Event>('Reason', 'string', (event) => event.reason ?? ''),
    column<Event>('Object', 'string', ({ involvedObject: object }) =>
      object.name ? `${(object.kind ?? '').toLowerCase()}/${object.name}` : (object.kind ?? '').toLowerCase(),
    ),
    column<Event>('Subobject', 'string', (event) => event.involvedObject.fieldPath ?? '', { wide: true }),
    column<Event>('Source', 'string', sourceText, { wide: true }),
    column<Event>('Message', 'string', (event) => (event.message ?? '').trim()),
    column<Event>('First Seen', 'string', (event, now) => age(event.firstTimestamp ?? event.eventTime, now), {
      wide: true,
    }),
    column<Event>('Count', 'string', (event) => event.series?.count ?? event.count ?? 1, { wide: true }),
    column<Event>('Name', 'string', (event) => event.metadata.name ?? '', { wide: true }),
  ],
  selectableFields: {
    ...Object.fromEntries(
      (['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'] as const).map((field) => [
        `involvedObject.${field}`,
        (object: unknown) => (object as Event).involvedObject?.[field] ?? '',
      ]),
    ),
    reason: (object) => (object as unknown as Event).reason ?? '',
    type: (object) => (object as unknown as Event).type ?? '',
    source: (object) =>
      (object as unknown as Event).source?.component || ((object as unknown as Event).reportingComponent ?? ''),
    reportingComponent: (object) => (object as unknown as Event).reportingComponent ?? '',
  },
  validate: (object) => {
    const event = object as unknown as Event;
    const namespace = event.involvedObject.namespace;
    if (namespace !== undefined && namespace !== '' && namespace !== event.metadata.namespace)
      return [invalid('involvedObject.namespace', namespace, 'does not match event.namespace')];
    return [];
  },
});

function lastSeen(event: Event, now: number): string {
  return age(event.series?.lastObservedTime ?? event.lastTimestamp ?? event.firstTimestamp ?? event.eventTime, now);
}

function sourceText(event: Event): string {
  const component = event.source?.component || event.reportingComponent || '';
  const host = event.source?.host ?? event.reportingInstance;
  return host ? `${component}, ${host}` : component;
}
