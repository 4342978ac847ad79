/** Opens the log plank: follows every instance and task of every app, and keeps what others emit beside it. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Informer } from '#cluster/client/client.ts';
import type { Informers } from '../resources/informers.ts';
import { pods } from '../resources/kubernetes.ts';
import { annotations, labels } from '../resources/types.ts';
import { followContainer } from './follower.ts';
import type { LogEnvelope, Logs } from './logs.ts';
import { type LogFile, readOlder } from './older.ts';
import { LogMemory, Source } from './source.ts';
import { EARLIEST, fromMilliseconds } from '../time.ts';

export interface LogsOptions {
  informers: Informers;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const DEFAULT_LIMIT = 100;
const MOST_LINES = 1000;
/** After every time there is. */
const LATEST = '9'.repeat(19);

interface Followed {
  stop: AbortController;
  done: Promise<void>;
  /** Wakes the pod's followers. */
  wake: PromiseWithResolvers<void>;
  containers: Set<string>;
}

export async function openLogs(options: LogsOptions): Promise<Logs> {
  const informers = [options.informers.of(pods), options.informers.taskPods];
  await Promise.all(informers.map(({ synced }) => synced));
  const sources = new Map<string, Source>();
  const followed = new Map<string, Followed>();
  const memory = new LogMemory();
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);

  const sourceOf = (id: string): Source => {
    let source = sources.get(id);
    if (source === undefined) sources.set(id, (source = new Source(memory)));
    return source;
  };

  const follow = (informer: Informer<Pod>, pod: Stored<Pod>, old: boolean): void => {
    const app = pod.metadata.labels?.[labels.app];
    if (app === undefined || signal.aborted) return;
    const { uid, name, namespace = '' } = pod.metadata;
    let state = followed.get(uid);
    if (state === undefined) {
      state = {
        stop: new AbortController(),
        done: Promise.resolve(),
        wake: Promise.withResolvers(),
        containers: new Set(),
      };
      followed.set(uid, state);
    }
    const here = state;
    here.wake.resolve();
    here.wake = Promise.withResolvers();
    for (const container of pod.status?.containerStatuses ?? []) {
      const started = container.state?.running ?? container.state?.terminated ?? container.lastState?.terminated;
      if (here.containers.has(container.name) || !started) continue;
      here.containers.add(container.name);
      const reading = followContainer({
        client: options.informers.client,
        pod: { name, namespace },
        container: container.name,
        source: sourceOf(app),
        origin: originOf(pod, container.name),
        old,
        run: () => runOf(informer.get(name, namespace), uid, container.name),
        changed: () => here.wake.promise,
        signal: AbortSignal.any([signal, here.stop.signal]),
        log: options.log,
      });
      here.done = Promise.all([here.done, reading]).then(
        () => undefined,
        (error: unknown) => options.log('error', 'A log is not read any more', { pod: name, error: String(error) }),
      );
    }
  };

  const unfollow = (pod: Stored<Pod>): void => {
    const state = followed.get(pod.metadata.uid);
    if (state === undefined) return;
    followed.delete(pod.metadata.uid);
    // Its followers read to the end by themselves; a node that is lost must not hold them for ever.
    state.wake.resolve();
    const timer = setTimeout(() => state.stop.abort(), 30_000);
    timer.unref();
    void state.done.finally(() => clearTimeout(timer));
  };

  const ends = informers.map((informer) =>
    informer.onChange((now, old) => {
      if (old !== undefined && now?.metadata.uid !== old.metadata.uid) unfollow(old);
      if (now !== undefined) follow(informer, now, false);
    }),
  );
  for (const informer of informers) for (const pod of informer.list()) follow(informer, pod, true);

  return {
    emit(line) {
      sourceOf(line.sourceId).push({
        timestamp: fromMilliseconds(line.at ?? Date.now()),
        sourceId: line.sourceId,
        instanceId: line.instanceId ?? '0',
        sourceType: line.sourceType,
        type: line.type ?? 'OUT',
        payload: typeof line.message === 'string' ? Buffer.from(line.message) : line.message,
      });
    },
    async read(query) {
      const source = sources.get(query.sourceId);
      if (source === undefined) return [];
      await source.loaded();
      const start = pad(query.startTime) ?? EARLIEST;
      const end = pad(query.endTime);
      const limit = Math.max(0, Math.min(query.limit ?? DEFAULT_LIMIT, MOST_LINES));
      const { descending = false } = query;
      const warm = source.range(start, end, { limit, descending });
      const { oldest = LATEST } = source;
      const isOlder = start < oldest && (source.hasOlder || source.expired > 0);
      if (!isOlder || (descending && warm.length >= limit)) return warm;
      const until = end === undefined || end > oldest ? oldest : end;
      const files = filesOf(informers, query.sourceId);
      const read = (asked: {
        start: string;
        end: string;
        limit: number;
        descending: boolean;
      }): Promise<LogEnvelope[]> =>
        readOlder(options.informers.client, { ...asked, files }, ({ pod }, error) =>
          options.log('info', 'Older lines were not read', { pod: pod.name, error: String(error) }),
        );
      if (descending) {
        return [...warm, ...(await read({ start, end: until, limit: limit - warm.length, descending }))];
      }
      const older = await source.older.range({ start, end: until, limit }, (from, lines) =>
        read({ start: from, end: until, limit: lines, descending: false }),
      );
      // Where the window ends before what is in memory begins, what is between comes with the next request.
      const gapless = older.length < limit && source.older.reaches(until) ? [...older, ...warm] : older;
      return gapless.slice(0, limit);
    },
    subscribe: (sourceId, listener) => sourceOf(sourceId).subscribe(listener),
    forget(sourceId) {
      sources.get(sourceId)?.clear();
      sources.delete(sourceId);
    },
    summaries: () =>
      [...sources].map(([sourceId, source]) => ({
        sourceId,
        count: source.count,
        expired: source.expired,
        oldest: source.oldest,
        newest: source.newest,
      })),
    async close() {
      stop.abort();
      for (const end of ends) end();
      const states = [...followed.values()];
      followed.clear();
      for (const { wake } of states) wake.resolve();
      await Promise.all(states.map(({ done }) => done));
      for (const source of sources.values()) source.clear();
    },
  };
}

/** What the nodes keep of an app: of each container this run and the one before. */
function filesOf(informers: Informer<Pod>[], app: string): LogFile[] {
  return informers
    .flatMap((informer) => informer.byIndex('platform/app', app))
    .flatMap((pod) =>
      (pod.status?.containerStatuses ?? []).flatMap((status) => {
        const { name, namespace = '' } = pod.metadata;
        const file = { pod: { name, namespace }, container: status.name, origin: originOf(pod, status.name) };
        return [...(status.restartCount > 0 ? [{ ...file, previous: true }] : []), { ...file, previous: false }];
      }),
    );
}

function originOf(pod: Stored<Pod>, container: string): LogFile['origin'] {
  return {
    sourceId: pod.metadata.labels?.[labels.app] ?? '',
    instanceId: pod.metadata.annotations?.[annotations.instanceIndex] ?? '0',
    sourceType: sourceType(pod, pod.spec?.containers[0]?.name === container ? undefined : container),
  };
}

function pad(time: string | undefined): string | undefined {
  return time?.padStart(EARLIEST.length, '0');
}

/** Cloud Foundry's name for what wrote a line. */
function sourceType(pod: Pod, sidecar: string | undefined): string {
  const task = pod.metadata.annotations?.[annotations.taskName];
  if (task !== undefined) return `APP/TASK/${task}`;
  const type = (pod.metadata.labels?.[labels.processType] ?? 'web').toUpperCase();
  return sidecar === undefined ? `APP/PROC/${type}` : `APP/PROC/${type}/SIDECAR/${sidecar.toUpperCase()}`;
}

function runOf(pod: Pod | undefined, uid: string, name: string): { restarts: number; running: boolean } | undefined {
  if (pod === undefined || pod.metadata.uid !== uid) return undefined;
  const status = pod.status?.containerStatuses?.find((container) => container.name === name);
  if (status === undefined) return undefined;
  return { restarts: status.restartCount, running: status.state?.running !== undefined };
}
