/** Starts the workload controllers: queues of keys, woken by the informers and by a slow period. */
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Logs } from '../logs/logs.ts';
import type { Informers } from '../resources/informers.ts';
import { pods, replicaSets } from '../resources/kubernetes.ts';
import * as types from '../resources/types.ts';
import { reconcileApp } from './app-controller.ts';
import { changesReadiness, recordReadiness } from './instance-events.ts';
import { assignIndexes, ownerOf } from './instance-index.ts';
import { crashesOf, recordCrashes, tellChange } from './lifecycle-events.ts';
import { mendRoute, pruneApp } from './prune.ts';
import { createKeyQueue } from './queue.ts';
import { hasEnded, reconcileTask } from './tasks.ts';
import type { WorkloadContext } from './workloads.ts';

export interface StartWorkloadsOptions {
  /** Shared with the cloud controller. The definitions must be installed. */
  informers: Informers;
  logs: Logs;
  /** `https://api.DOMAIN[:port]`, as apps see it in VCAP_APPLICATION. */
  apiUrl: string;
  /** Seconds that an instance has to become healthy where its process names no other; default 60. */
  healthCheckTimeout?: number;
  now?: () => number;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RunningWorkloads {
  close(): Promise<void>;
}

const PERIOD_MILLISECONDS = 10 * 60_000;

export async function startWorkloads(options: StartWorkloadsOptions): Promise<RunningWorkloads> {
  const { informers, log } = options;
  const stop = new AbortController();
  const context: WorkloadContext = {
    informers,
    logs: options.logs,
    apiUrl: options.apiUrl,
    defaults: { healthCheckTimeout: options.healthCheckTimeout ?? 60 },
    log,
    now: options.now ?? Date.now,
    signal: stop.signal,
  };
  await Promise.all([informers.synced(), informers.taskPods.synced]);
  const podByUid = (uid: string) =>
    informers
      .of(pods)
      .list()
      .find((pod) => pod.metadata.uid === uid);
  const appQueue = createKeyQueue({
    name: 'app',
    workers: 8,
    log,
    work: async (guid) => {
      const after = await reconcileApp(context, guid);
      if (after !== undefined) appQueue.add(guid, after);
    },
  });
  const indexQueue = createKeyQueue({
    name: 'instance index',
    workers: 8,
    log,
    work: (key) => assignIndexes(context, key),
  });
  const pruneQueue = createKeyQueue({ name: 'prune', workers: 1, log, work: (guid) => pruneApp(context, guid) });
  const routeQueue = createKeyQueue({ name: 'route', workers: 1, log, work: (guid) => mendRoute(context, guid) });
  const crashQueue = createKeyQueue({
    name: 'crash',
    workers: 2,
    log,
    work: async (uid) => {
      const pod = podByUid(uid);
      if (pod) await recordCrashes(context, uid, pod);
    },
  });
  /** By uid and version: the pod may be another one when it is told of. */
  const turned = new Map<string, Stored<Pod>>();
  const readinessQueue = createKeyQueue({
    name: 'readiness',
    // One after the other, in the order of the changes.
    workers: 1,
    log,
    work: async (key) => {
      const pod = turned.get(key);
      if (pod) await recordReadiness(context, pod);
      turned.delete(key);
    },
  });
  const taskQueue = createKeyQueue({
    name: 'task',
    workers: 4,
    log,
    work: async (guid) => {
      const after = await reconcileTask(context, guid);
      if (after !== undefined) taskQueue.add(guid, after);
    },
  });
  const queues = [taskQueue, appQueue, indexQueue, pruneQueue, routeQueue, crashQueue, readinessQueue];

  const look = (pod: Stored<Pod>): void => {
    const owner = ownerOf(pod);
    if (owner !== undefined && (pod.spec?.schedulingGates?.length ?? 0) > 0) {
      indexQueue.add(`${pod.metadata.namespace ?? ''}/${owner}`);
    }
    if (crashesOf(pod).length > 0) crashQueue.add(pod.metadata.uid);
  };
  const wakeAll = (): void => {
    for (const app of informers.of(types.apps).list()) {
      appQueue.add(app.metadata.name);
      pruneQueue.add(app.metadata.name);
    }
    for (const pod of informers.of(pods).list()) look(pod);
    for (const route of informers.of(types.routes).list()) routeQueue.add(route.metadata.name);
    for (const task of informers.of(types.tasks).list()) taskQueue.add(task.metadata.name);
  };

  const stops = [
    informers.of(types.apps).onChange((now, old) => {
      const guid = (now ?? old)?.metadata.name;
      if (guid === undefined) return;
      appQueue.add(guid);
      if (now) return;
      for (const route of informers.of(types.routes).list()) {
        if (route.spec.destinations.some((destination) => destination.app === guid))
          routeQueue.add(route.metadata.name);
      }
    }),
    informers.of(types.processes).onChange((now, old) => wakeApp((now ?? old)?.spec.app)),
    informers.of(types.appDeployments).onChange((now, old) => wakeApp((now ?? old)?.spec.app)),
    informers.of(types.revisions).onChange((now) => {
      wakeApp(now?.spec.app);
      if (now) pruneQueue.add(now.spec.app, 1_000);
    }),
    informers.of(types.droplets).onChange((now) => {
      wakeApp(now?.spec.app);
      if (now) pruneQueue.add(now.spec.app, 1_000);
    }),
    informers.of(replicaSets).onChange((now, old) => wakeApp((now ?? old)?.metadata.labels?.[types.labels.app])),
    informers.of(types.tasks).onChange((now) => {
      if (!now) return;
      taskQueue.add(now.metadata.name);
      if (hasEnded(now)) pruneQueue.add(now.spec.app, 1_000);
    }),
    informers.taskPods.onChange((now, old) => {
      const task = (now ?? old)?.metadata.labels?.[types.labels.task];
      if (task !== undefined) taskQueue.add(task);
    }),
    informers.of(pods).onChange((now, old) => {
      tellChange(context, now, old);
      if (now) look(now);
      if (now && changesReadiness(now, old)) {
        const key = `${now.metadata.uid} ${now.metadata.resourceVersion}`;
        turned.set(key, now);
        readinessQueue.add(key);
      }
      wakeApp((now ?? old)?.metadata.labels?.[types.labels.app]);
    }),
  ];

  function wakeApp(guid: string | undefined): void {
    if (guid !== undefined) appQueue.add(guid);
  }

  wakeAll();
  const period = setInterval(wakeAll, PERIOD_MILLISECONDS);
  period.unref();
  return {
    close: async () => {
      clearInterval(period);
      for (const end of stops) end();
      stop.abort();
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}
