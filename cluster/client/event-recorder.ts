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

interface InvolvedObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export interface EventRecorder {
  /** Returns at once; an event that cannot be written is told to `onError` and lost. */
  record(object: InvolvedObject, event: RecordedEvent): void;
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

interface Written {
  name: string;
  count: number;
}

const maxMessage = 1024;
const remembered = 512;
/** Writes under way at once: what people read later must not hold up what they wait for. */
const writers = 4;
/** Events that wait to be written; what is more is lost. */
const waitingLimit = 50_000;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, component, host } = options;
  /** The events written last, by what they say; oldest first. */
  const written = new Map<string, Promise<Written | undefined>>();
  const pending = new Set<Promise<unknown>>();
  const waiting: (() => void)[] = [];
  /** Where those that wait begin: what is before had its turn. */
  let first = 0;
  let writing = 0;
  let lost = 0;

  /** Resolves when it is this write's turn. */
  function turn(): Promise<void> {
    if (writing < writers) {
      writing++;
      return Promise.resolve();
    }
    return new Promise((resolve) => waiting.push(resolve));
  }

  function done(): void {
    const next = waiting[first];
    if (next) {
      first++;
      next();
    } else {
      writing--;
      waiting.length = first = 0;
    }
    if (lost > 0 && next === undefined) {
      options.onError?.(new Error(`${lost} events were lost: more than ${waitingLimit} waited to be written`));
      lost = 0;
    }
  }

  async function create(object: InvolvedObject, event: RecordedEvent, at: string) {
    const { name = '', namespace = 'default', uid, resourceVersion } = object.metadata;
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
      firstTimestamp: at,
      lastTimestamp: at,
      count: 1,
    });
    return { name: created.metadata.name, count: 1 };
  }

  async function write(object: InvolvedObject, event: RecordedEvent, before: Promise<Written | undefined> | undefined) {
    const at = `${new Date().toISOString().slice(0, 19)}Z`;
    // One that repeats another is written after it: it must not take a turn from it.
    const last = await before;
    await turn();
    try {
      if (!last) return await create(object, event, at);
      const count = last.count + 1;
      try {
        await client.patch(
          events,
          last.name,
          { type: 'merge', body: { count, lastTimestamp: at } },
          { namespace: object.metadata.namespace ?? 'default' },
        );
        return { name: last.name, count };
      } catch (error) {
        // It had its time; a new one is written.
        if (error instanceof ApiError && error.code === 404) return await create(object, event, at);
        throw error;
      }
    } catch (error) {
      // A namespace that goes takes no new events: nothing is wrong then.
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 403))) options.onError?.(error);
      return undefined;
    } finally {
      done();
    }
  }

  return {
    record(object, event) {
      if (waiting.length - first >= waitingLimit) {
        lost++;
        return;
      }
      const key = `${object.metadata.uid ?? object.metadata.name}\0${event.type}\0${event.reason}\0${event.message}`;
      const job = write(object, event, written.get(key));
      written.delete(key);
      written.set(key, job);
      pending.add(job);
      job.finally(() => pending.delete(job));
      if (written.size > remembered) for (const oldest of written.keys()) return void written.delete(oldest);
    },
    async flush() {
      await Promise.all(pending);
    },
  };
}
