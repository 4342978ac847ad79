/** Writes Event objects: what happened to an object, for people. Repetitions raise a count. */
import { randomBytes } from 'node:crypto';
import { events } from '../kinds/resources.ts';
import type { ObjectMeta } from '../kinds/types/meta.ts';
import { ApiError, type Client } from './client.ts';

export interface RecordedEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export interface EventRecorder {
  /** Returns at once; an event that cannot be written is told to `onError` and lost. */
  record(object: { apiVersion: string; kind: string; metadata: ObjectMeta }, event: RecordedEvent): void;
  /** Resolves when everything recorded was written or lost. */
  flush(): Promise<void>;
}

export interface EventRecorderOptions {
  client: Client;
  /** Who says so: `replicaset-controller`. */
  component: string;
  host?: string;
  onError?: (error: unknown) => void;
}

const maxMessage = 1024;
const remembered = 512;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, component, host } = options;
  /** The events written last, by what they say; oldest first. */
  const written = new Map<string, Promise<{ name: string; count: number } | undefined>>();
  const pending = new Set<Promise<unknown>>();

  async function create(object: { apiVersion: string; kind: string; metadata: ObjectMeta }, event: RecordedEvent) {
    const { name = '', namespace = 'default', uid, resourceVersion } = object.metadata;
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const created = await client.create(events, {
      metadata: { name: `${name.slice(0, 200)}.${randomBytes(8).toString('hex')}`, namespace },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        name,
        ...(object.metadata.namespace && { namespace }),
        ...(uid && { uid }),
        ...(resourceVersion && { resourceVersion }),
      },
      type: event.type,
      reason: event.reason,
      message: event.message.slice(0, maxMessage),
      source: { component, ...(host && { host }) },
      reportingComponent: component,
      ...(host && { reportingInstance: host }),
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    });
    return { name: created.metadata.name, count: 1 };
  }

  async function write(
    object: Parameters<EventRecorder['record']>[0],
    event: RecordedEvent,
    before: typeof written extends Map<string, infer P> ? P | undefined : never,
  ) {
    try {
      const last = await before;
      if (!last) return await create(object, event);
      const count = last.count + 1;
      try {
        await client.patch(
          events,
          last.name,
          { type: 'merge', body: { count, lastTimestamp: `${new Date().toISOString().slice(0, 19)}Z` } },
          { namespace: object.metadata.namespace ?? 'default' },
        );
        return { name: last.name, count };
      } catch (error) {
        // It had its time; a new one is written.
        if (error instanceof ApiError && error.code === 404) return await create(object, event);
        throw error;
      }
    } catch (error) {
      // A namespace that goes takes no new events: nothing is wrong then.
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 403))) options.onError?.(error);
      return undefined;
    }
  }

  return {
    record(object, event) {
      const key = `${object.metadata.uid ?? object.metadata.name}\0${event.type}\0${event.reason}\0${event.message}`;
      const job = write(object, event, written.get(key));
      written.delete(key);
      written.set(key, job);
      if (written.size > remembered) for (const oldest of written.keys()) return void written.delete(oldest);
      pending.add(job);
      job.finally(() => pending.delete(job));
    },
    async flush() {
      await Promise.all(pending);
    },
  };
}
