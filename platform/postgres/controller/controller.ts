/** Queues of databases, woken by what is written and by a slow period: see `postgres.ts`. */
import { isDeepStrictEqual } from 'node:util';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { persistentVolumeClaims, pods, secrets } from '#cluster/kinds/resources.ts';
import type { ObjectMeta } from '#cluster/kinds/types/meta.ts';
import { createKeyQueue } from '../../workloads/queue.ts';
import { NAMESPACE } from '../postgres.ts';
import { labels } from '../resource.ts';
import type { PostgresContext, Watches } from './context.ts';
import { reconcileDatabase } from './reconcile.ts';
import { transfer } from './transfers.ts';

const PERIOD_MILLISECONDS = 10 * 60_000;
/** Databases whose content is moved at once. */
const TRANSFERS = 2;

export interface RunningController {
  close(): Promise<void>;
}

/** The watches of `context.watches`, opened by the first who asks. */
export function lazyWatches(context: Pick<PostgresContext, 'client' | 'log'>): {
  open: () => Promise<Watches>;
  onOpen: (listener: (watches: Watches) => void) => void;
  close: () => void;
} {
  let opened: Promise<Watches> | undefined;
  const listeners: ((watches: Watches) => void)[] = [];
  const all: { close(): void }[] = [];
  const open = async (): Promise<Watches> => {
    const selection = {
      namespace: NAMESPACE,
      labelSelector: labels.database,
      onError: (error: unknown) =>
        context.log('warn', 'A watch of PostgreSQL databases broke off; it is tried again', { error: String(error) }),
    };
    const watches: Watches = {
      pods: createInformer(context.client, pods, selection),
      claims: createInformer(context.client, persistentVolumeClaims, selection),
      bindings: createInformer(context.client, secrets, { ...selection, labelSelector: labels.binding }),
    };
    all.push(...Object.values(watches));
    await Promise.all(Object.values(watches).map((informer) => informer.synced as Promise<void>));
    for (const listener of listeners) listener(watches);
    return watches;
  };
  return {
    open: () => (opened ??= open()),
    onOpen: (listener) => void listeners.push(listener),
    close: () => {
      for (const informer of all) informer.close();
    },
  };
}

export function startController(
  context: PostgresContext,
  onOpen: (listener: (watches: Watches) => void) => void,
): RunningController {
  const { databases, log } = context;
  const transfers = createKeyQueue({
    name: 'PostgreSQL backup',
    workers: TRANSFERS,
    log,
    work: async (name) => {
      const after = await transfer(context, name);
      if (after !== undefined) transfers.add(name, Math.max(1, after));
    },
  });
  const queue = createKeyQueue({
    name: 'PostgreSQL database',
    workers: 4,
    log,
    work: async (name) => {
      const { again, ready } = await reconcileDatabase(context, name);
      if (again !== undefined) queue.add(name, again);
      if (ready) transfers.add(name);
    },
  });
  const wakeOf = (now: Stored<{ metadata: ObjectMeta }> | undefined, old: typeof now): void => {
    const name = (now ?? old)?.metadata.labels?.[labels.database];
    if (name !== undefined) queue.add(name);
  };
  onOpen((watches) => {
    for (const informer of [watches.pods, watches.claims, watches.bindings]) {
      (informer as Watches['pods']).onChange(wakeOf);
    }
  });
  const stop = databases.onChange((now, old) => {
    const told = now && old && isDeepStrictEqual(now.spec, old.spec);
    const leaving = now?.metadata.deletionTimestamp !== old?.metadata.deletionTimestamp;
    if (now && (!told || leaving)) queue.add(now.metadata.name);
  });
  const wakeAll = (): void => {
    for (const { metadata } of databases.list()) queue.add(metadata.name);
  };
  wakeAll();
  const period = setInterval(wakeAll, PERIOD_MILLISECONDS);
  period.unref();
  return {
    async close() {
      clearInterval(period);
      stop();
      await Promise.all([queue.close(), transfers.close()]);
    },
  };
}
