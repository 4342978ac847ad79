/**
 * One piece of work for everybody who asks for the same thing at the same time. A caller that aborts leaves alone;
 * the work itself is aborted when the last caller leaves, who waits until it has cleaned up.
 */
export class SingleFlight<Result> {
  readonly #flights = new Map<string, { controller: AbortController; promise: Promise<Result>; waiters: number }>();

  async run(
    key: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted();
    let flight = this.#flights.get(key);
    if (flight === undefined || flight.controller.signal.aborted) {
      const controller = new AbortController();
      const started = { controller, promise: work(controller.signal), waiters: 0 };
      flight = started;
      this.#flights.set(key, started);
      const forget = () => {
        if (this.#flights.get(key) === started) this.#flights.delete(key);
      };
      started.promise.then(forget, forget);
    }
    flight.waiters += 1;
    try {
      return await untilAborted(flight.promise, signal);
    } finally {
      flight.waiters -= 1;
      if (flight.waiters === 0) {
        flight.controller.abort(signal?.reason);
        // Its result, or its failure after the abort, is nobody's any more.
        await flight.promise.catch(() => undefined);
      }
    }
  }
}

/** Settles with the promise, or rejects with the signal's reason when that comes first. The work goes on. */
export async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
  if (signal === undefined) return await promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
