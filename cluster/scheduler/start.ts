/**
 * The scheduler: gives every pod that has none a node, as soon as pod and node are there. `plugin.ts` is the contract of what
 * decides, `profile.ts` names what does; `schedule-pod.ts` is one pod's turn.
 */
import type { Client, ClientObject, Informer } from '../client/client.ts';
import { createEventRecorder } from '../client/event-recorder.ts';
import { sharedInformer } from '../client/shared-informer.ts';
import type { TypedResource } from '../kinds/kind.ts';
import { nodes as nodeResource, podDisruptionBudgets, pods as podResource } from '../kinds/resources.ts';
import { createBatches } from './batch.ts';
import { Cluster } from './cluster.ts';
import { createSearch } from './find-nodes.ts';
import { followNodes, followPods, schedulerName } from './follow.ts';
import { createNominations } from './nominations.ts';
import type { Plugin, PluginContext } from './plugin.ts';
import { createPodQueue } from './pod-queue.ts';
import { defaultProfile } from './profile.ts';
import { schedulePod } from './schedule-pod.ts';
import type { SchedulerState } from './state.ts';
import { createWake, hintedResources } from './wake.ts';

export interface SchedulerOptions {
  client: Client;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  now?: () => number;
  /** Of a large cluster's nodes that fit: which share is found before one is chosen; 0, the default, adapts to the size. */
  percentageOfNodesToScore?: number;
  /** Instead of the default profile. */
  profile?: (context: PluginContext) => Plugin[];
}

export interface RunningScheduler {
  /** Resolves when nothing is under way any more. */
  close(): Promise<void>;
}

/** Binds under way at once: what waits for the disk together is written together. */
const bindLimit = 256;
/** The thread is given to others after so long. */
const turnMilliseconds = 4;

export async function startScheduler(options: SchedulerOptions): Promise<RunningScheduler> {
  const { client, signal, log, now = Date.now, profile = defaultProfile } = options;
  const onError = (error: unknown): void =>
    log('warn', `scheduler: ${error instanceof Error ? error.message : String(error)}`);
  const stop = new AbortController();
  const informers: Informer<ClientObject>[] = [];

  function informer<T extends ClientObject>(
    resource: TypedResource<T>,
    indexes: Parameters<typeof sharedInformer<T>>[2] = {},
  ): Informer<T> {
    const opened = sharedInformer(client, resource, indexes, onError);
    informers.push(opened as unknown as Informer<ClientObject>);
    return opened;
  }

  const jobs = new Set<Promise<void>>();
  const cluster = new Cluster();
  const nominations = createNominations();
  const plugins = profile({ client, informer, now });
  const queue = createPodQueue(schedule);
  const state: SchedulerState = {
    client,
    recorder: createEventRecorder({ client, component: schedulerName, onError }),
    plugins,
    cluster,
    nominations,
    queue,
    search: createSearch(cluster, options.percentageOfNodesToScore),
    batches: createBatches(plugins, cluster),
    wake: createWake(plugins, queue),
    pods: informer(podResource),
    budgets: informer(podDisruptionBudgets),
    signal: AbortSignal.any([signal, stop.signal]),
    now,
    track(job) {
      jobs.add(job);
      job.catch((error: unknown) => state.signal.aborted || onError(error)).finally(() => jobs.delete(job));
    },
    binding: 0,
    schedule,
  };
  let ready = false;
  let scheduled = false;

  function schedule(): void {
    if (scheduled || !ready || state.signal.aborted) return;
    scheduled = true;
    setImmediate(turn);
  }

  function turn(): void {
    scheduled = false;
    const end = performance.now() + turnMilliseconds;
    while (!state.signal.aborted && state.binding < bindLimit) {
      if (performance.now() > end) {
        schedule();
        return;
      }
      const queued = queue.next();
      if (queued === undefined) return;
      schedulePod(state, queued);
    }
  }

  const nodes = informer(nodeResource);
  for (const resource of hintedResources(plugins)) {
    if (resource === nodeResource || resource === podResource) continue;
    informer(resource as TypedResource<ClientObject>).onChange((object, old) => state.wake(resource, object, old));
  }

  let closing: Promise<void> | undefined;
  async function end(): Promise<void> {
    stop.abort();
    queue.close();
    for (const one of informers) one.close();
    await Promise.allSettled(jobs);
    await state.recorder.flush();
  }
  const close = (): Promise<void> => (closing ??= end());
  signal.addEventListener('abort', () => void close(), { once: true });
  try {
    // Nobody is tried before all is known: a pod that is tried before its node is would be called unschedulable.
    await Promise.race([Promise.all(informers.map(({ synced }) => synced)), aborted(state.signal)]);
  } catch (error) {
    await close();
    if (signal.aborted) return { close };
    throw error;
  }
  followNodes(state, nodes);
  followPods(state, state.pods);
  ready = true;
  schedule();
  return { close };
}

/** Informers are shared: closing ours alone would leave us waiting for their first list. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
}
