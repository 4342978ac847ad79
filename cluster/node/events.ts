/**
 * Tells what happens to pods as Kubernetes events.
 *
 * Never in the way: `record` only queues. What is queued is written a moment later, one at a time; the same thing said
 * again raises the `count` of the event that said it first. While the API server does not answer they wait. Each pod has 25 at once and then one in 5 minutes for new
 * events, as upstream has; what is above that is dropped, and counted in the log.
 */
import { randomBytes } from 'node:crypto';
import { BoundedMap } from '#lib/bounded-map.ts';
import { ApiError, type Client } from '../client/client.ts';
import { events } from '../kinds/resources.ts';
import type { Event, ObjectReference } from '../kinds/types/core.ts';
import type { AgentOptions } from './agent.ts';
import { messageOf } from './errors.ts';

export interface EventRecorder {
  record(event: RecordedEvent): void;
  /** Writes what is queued. */
  close(): Promise<void>;
}

export interface RecordedEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
  object: ObjectReference;
}

interface Series {
  event: Event;
  /** Set when the server has it. */
  created: boolean;
  dirty: boolean;
}

const delay = 100;
/** Where the API server does not answer. */
const retryAfter = 2000;
const maxSeries = 2000;
const burst = 25;
const refill = 300_000;

export function createEventRecorder(client: Client, nodeName: string, log: AgentOptions['log']): EventRecorder {
  const known = new BoundedMap<string, Series>(maxSeries);
  const budgets = new BoundedMap<string, { tokens: number; at: number }>(maxSeries);
  const queue: Series[] = [];
  let timer: NodeJS.Timeout | undefined;
  let flushing: Promise<void> = Promise.resolve();
  let dropped = 0;
  let closed = false;

  const allowed = (uid: string, now: number): boolean => {
    const budget = budgets.get(uid) ?? { tokens: burst, at: now };
    budget.tokens = Math.min(burst, budget.tokens + (now - budget.at) / refill);
    budget.at = now;
    budgets.set(uid, budget);
    if (budget.tokens < 1) return false;
    budget.tokens -= 1;
    return true;
  };

  const write = async (series: Series): Promise<void> => {
    series.dirty = false;
    const { event } = series;
    if (series.created) {
      const { count, lastTimestamp, message } = event;
      try {
        const body = { count, lastTimestamp, message };
        const namespace = event.metadata.namespace ?? 'default';
        await client.patch(events, event.metadata.name ?? '', { type: 'merge', body }, { namespace });
        return;
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
        event.metadata.name = eventName(event.involvedObject);
      }
    }
    await client.create(events, event);
    series.created = true;
  };

  const flush = async (): Promise<void> => {
    for (let series = queue.shift(); series; series = queue.shift()) {
      try {
        await write(series);
      } catch (error) {
        const unanswered = error instanceof ApiError && (error.code === 0 || error.code >= 500);
        if (unanswered && !closed) {
          series.dirty = true;
          queue.unshift(series);
          timer ??= setTimeout(startFlush, retryAfter).unref();
          return;
        }
        // Events are best effort: a namespace that is being deleted refuses them, and the agent goes on.
        log('warn', 'an event was not written', { reason: series.event.reason, error: messageOf(error) });
      }
    }
    if (dropped > 0) {
      log('warn', 'events were dropped by the rate limit', { dropped });
      dropped = 0;
    }
  };
  const startFlush = (): void => {
    timer = undefined;
    flushing = flushing.then(flush);
  };

  return {
    record({ type, reason, message, object }) {
      const key = [object.uid, object.fieldPath, type, reason, message].join('\n');
      const now = Date.now();
      let series = known.get(key);
      if (!allowed(object.uid ?? object.name ?? '', now)) {
        dropped += 1;
        return;
      }
      const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
      if (series) {
        series.event.count = (series.event.count ?? 1) + 1;
        series.event.lastTimestamp = time;
      } else {
        const event: Event = {
          apiVersion: 'v1',
          kind: 'Event',
          metadata: { name: eventName(object), namespace: object.namespace ?? 'default' },
          involvedObject: object,
          type,
          reason,
          message: message.slice(0, 1024),
          count: 1,
          firstTimestamp: time,
          lastTimestamp: time,
          source: { component: 'kubelet', host: nodeName },
          reportingComponent: 'kubelet',
          reportingInstance: nodeName,
        };
        series = { event, created: false, dirty: false };
      }
      known.set(key, series);
      if (series.dirty) return;
      series.dirty = true;
      queue.push(series);
      if (queue.length > maxSeries) queue.shift();
      timer ??= setTimeout(startFlush, delay).unref();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      startFlush();
      await flushing;
    },
  };
}

function eventName(object: ObjectReference): string {
  return `${(object.name ?? 'object').slice(0, 230)}.${randomBytes(8).toString('hex')}`;
}
