/** Runs controllers: a queue for each, retries, and the slow period. */
import { createWorkQueue } from '#lib/work-queue.ts';
import { ApiError } from '../client/client.ts';
import type { Controller, ControllerContext } from './controller.ts';

const slowPeriod = 10 * 60_000;
const retry = { firstMilliseconds: 5, lastMilliseconds: 1_000_000 };

export interface RunningControllers {
  /** Resolves when no reconcile is under way any more. */
  close(): Promise<void>;
}

/** A conflict says that the controller saw an old object; the change that it did not see wakes it, or the retry does. */
function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'Conflict';
}

/** Nothing can be made there any more, and nothing needs to be: all that is there goes. */
function isNamespaceGoing(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.status?.details?.causes?.some(({ reason }) => reason === 'NamespaceTerminating') ?? false)
  );
}

async function startController(controller: Controller, context: ControllerContext): Promise<() => Promise<void>> {
  const { signal, log } = context;
  /** One informer may be in before another: what is looked at before all are would seem to be missing, and be made again. */
  const { promise: ready, resolve: begin } = Promise.withResolvers<void>();
  let started = false;
  const queue = createWorkQueue({
    workers: controller.workers ?? 4,
    retry,
    async work(key) {
      await ready;
      if (!started || signal.aborted) return;
      try {
        await controller.reconcile(key, context);
      } catch (error) {
        if (!signal.aborted && !isNamespaceGoing(error)) throw error;
      }
    },
    onFailure(key, error, { retryMilliseconds }) {
      if (isConflict(error)) return;
      log('warn', `controller ${controller.name}: ${error instanceof Error ? error.message : String(error)}`, {
        controller: controller.name,
        key,
        retryMilliseconds,
      });
    },
  });
  const period = setInterval(() => {
    for (const key of controller.keys?.() ?? []) queue.add(key);
  }, slowPeriod);
  period.unref();
  try {
    await controller.start(context, queue.add);
    started = true;
  } finally {
    begin();
  }
  return async () => {
    clearInterval(period);
    await queue.close();
  };
}

/** Resolves when every controller has started: its informers show what is there, its first keys are queued. */
export async function startControllers(
  controllers: Controller[],
  context: ControllerContext,
): Promise<RunningControllers> {
  const stop = new AbortController();
  const own: ControllerContext = { ...context, signal: AbortSignal.any([context.signal, stop.signal]) };
  const started = await Promise.allSettled(controllers.map((controller) => startController(controller, own)));
  const close = async (): Promise<void> => {
    stop.abort();
    await Promise.all(started.map((result) => (result.status === 'fulfilled' ? result.value() : undefined)));
  };
  const failed = started.find((result) => result.status === 'rejected');
  if (failed) {
    await close();
    throw failed.reason;
  }
  return { close };
}
