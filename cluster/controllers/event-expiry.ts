/** Events have a time to live: one hour after they were last seen. */
import { ApiError, type Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { events } from '../kinds/resources.ts';
import type { Event } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { keyOf, splitKey } from './objects.ts';

const timeToLive = 3_600_000;
/** Events that are due together are removed together: one timer for all, rather than one for each. */
const sweepPeriod = 60_000;

function lastSeen({ lastTimestamp, eventTime, series, metadata }: Stored<Event>): string {
  return series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata.creationTimestamp;
}

export function createEventExpiry(options: { timeToLive?: number; sweepPeriod?: number } = {}): Controller {
  const life = options.timeToLive ?? timeToLive;
  let informer: Informer<Event>;
  return {
    name: 'event-expiry',
    async start(context, enqueue) {
      informer = createInformer(context.client, events, {
        // Its name and its time are all that is kept.
        transform: (event) => ({
          metadata: {
            name: event.metadata.name,
            namespace: event.metadata.namespace ?? '',
            uid: event.metadata.uid,
            resourceVersion: event.metadata.resourceVersion,
            creationTimestamp: event.metadata.creationTimestamp,
          },
          involvedObject: {},
          lastTimestamp: lastSeen(event),
        }),
        onError: (error) => context.log('warn', `event-expiry: ${String(error)}`),
      });
      context.signal.addEventListener('abort', () => informer.close(), { once: true });
      await informer.synced;
      const sweep = (): void => {
        for (const event of informer.list()) {
          if (Date.parse(event.lastTimestamp ?? '') + life <= context.now()) enqueue(keyOf(event.metadata));
        }
      };
      const timer = setInterval(sweep, options.sweepPeriod ?? sweepPeriod);
      timer.unref();
      context.signal.addEventListener('abort', () => clearInterval(timer), { once: true });
      sweep();
    },
    async reconcile(key, { client, now }) {
      const { namespace, name } = splitKey(key);
      const event = informer.get(name, namespace);
      if (!event || Date.parse(event.lastTimestamp ?? '') + life > now()) return;
      try {
        await client.delete(events, name, { namespace, preconditions: { uid: event.metadata.uid } });
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      }
    },
  };
}
