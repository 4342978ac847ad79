/** Events to any number of consumers; one that is too slow is cut off, never waited for. */
import { EngineError, type EngineEvent } from '../engine.ts';

const longestQueue = 10_000;

interface Subscriber {
  queue: EngineEvent[];
  wake: (() => void) | undefined;
  failure: Error | undefined;
  ended: boolean;
}

export class EventHub {
  readonly #subscribers = new Set<Subscriber>();

  emit(event: EngineEvent): void {
    for (const subscriber of this.#subscribers) {
      if (subscriber.queue.length >= longestQueue) {
        subscriber.queue.length = 0;
        subscriber.failure = new EngineError(
          'unavailable',
          `a consumer of events fell ${longestQueue} behind: list again and subscribe anew`,
        );
        this.#subscribers.delete(subscriber);
      } else subscriber.queue.push(event);
      subscriber.wake?.();
    }
  }

  /** Subscribed from the moment of the call, not of the first `next`. Ends with the signal, or with `close`. */
  subscribe(signal?: AbortSignal): AsyncIterable<EngineEvent> {
    const subscriber: Subscriber = { queue: [], wake: undefined, failure: undefined, ended: signal?.aborted === true };
    this.#subscribers.add(subscriber);
    const end = (): void => {
      subscriber.ended = true;
      this.#subscribers.delete(subscriber);
      subscriber.wake?.();
    };
    signal?.addEventListener('abort', end, { once: true });
    return drain(subscriber, () => {
      signal?.removeEventListener('abort', end);
      this.#subscribers.delete(subscriber);
    });
  }

  close(): void {
    for (const subscriber of this.#subscribers) {
      subscriber.ended = true;
      subscriber.wake?.();
    }
    this.#subscribers.clear();
  }
}

async function* drain(subscriber: Subscriber, release: () => void): AsyncGenerator<EngineEvent> {
  try {
    for (;;) {
      if (subscriber.failure !== undefined) throw subscriber.failure;
      const event = subscriber.queue.shift();
      if (event !== undefined) yield event;
      else if (subscriber.ended) return;
      else {
        await new Promise<void>((resolve) => {
          subscriber.wake = resolve;
        });
        subscriber.wake = undefined;
      }
    }
  } finally {
    release();
  }
}
