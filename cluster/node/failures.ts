/** Starts that failed before there was a container: what the pod's status says of them, and when to try again. */
import { AgentError, messageOf } from './errors.ts';
import { grow } from './backoff.ts';

interface Failure {
  reason: string;
  message: string;
  image: string;
  /** By a clock that nobody sets: a host whose time is set back must not wait for it to come again. */
  at: number;
  until: number;
  count: number;
  /** The words of its back-off were given out. */
  isTold: boolean;
}

/** How long the error itself is shown before the back-off is. */
const shownFor = 1000;

export class StartFailures {
  readonly #failures = new Map<string, Failure>();

  /** Returns the reason and message, as for an event. */
  add(name: string, image: string, error: unknown): { reason: string; message: string } {
    const now = performance.now();
    const reason = error instanceof AgentError ? error.code : 'CreateContainerError';
    const count = (this.#failures.get(name)?.count ?? 0) + 1;
    const pulling = reason === 'ErrImagePull';
    const delay = pulling ? grow(10_000, 300_000, count - 1) : grow(1000, 60_000, count - 1);
    const message = messageOf(error);
    this.#failures.set(name, { reason, message, image, at: now, until: now + delay, count, isTold: false });
    return { reason, message };
  }

  delete(name: string): void {
    this.#failures.delete(name);
  }

  /** Until when each is not to be tried again; `now` and the answers are the host's time. */
  holds(now: number): Map<string, number> {
    const steady = performance.now();
    return new Map([...this.#failures].map(([name, { until }]) => [name, now + until - steady]));
  }

  /** What each container that could not be started waits for: first the error, later the back-off. */
  waiting(): Map<string, { reason: string; message: string }> {
    const now = performance.now();
    const waiting = new Map<string, { reason: string; message: string }>();
    for (const [name, failure] of this.#failures) {
      const { reason, message, image, at } = failure;
      failure.isTold = reason === 'ErrImagePull' && now >= at + shownFor;
      waiting.set(
        name,
        failure.isTold
          ? { reason: 'ImagePullBackOff', message: `Back-off pulling image "${image}"` }
          : { reason, message },
      );
    }
    return waiting;
  }

  /** When the next of them has other words than `waiting` gave last; `now` and the answer, which is later, are the host's time. */
  nextChange(now: number): number {
    const steady = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const { reason, at, isTold } of this.#failures.values()) {
      if (reason === 'ErrImagePull' && !isTold) next = Math.min(next, now + Math.max(1, at + shownFor - steady));
    }
    return next;
  }
}
