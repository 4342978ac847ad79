/** The instance's store, by what was chosen for it. */
import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { type EtcdPlace, removeFromEtcd, requirePlace } from '#cluster/store/etcd/copy-in.ts';
import { openEtcdStore } from '#cluster/store/etcd/open.ts';
import { TenureError, type Tenant } from '#cluster/store/etcd/tenure.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import { sqliteSnapshot } from '#cluster/store/sqlite/snapshot.ts';
import { type SnapshotPage, type Store, StoreError } from '#cluster/store/store.ts';
import { bootId } from '#lib/boot-id.ts';
import { HostError } from '../host-error.ts';
import type { Instance } from '../instance.ts';
import { type EtcdSettings, sqlitePath } from './settings.ts';

export type StoreLog = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

/** For the server, or for who writes while there is none: in etcd nobody else does so meanwhile. @throws StoreError, HostError `conflict` */
export async function openInstanceStore(instance: Instance, log?: StoreLog): Promise<Store> {
  const { store } = instance;
  const logged = log === undefined ? {} : { log };
  if (store === undefined) return openSqliteStore({ path: sqlitePath(instance.dataDirectory), ...logged });
  try {
    return await openEtcdStore({ ...etcdPlace(store), tenant: tenantOf(instance), ...logged });
  } catch (error) {
    throw error instanceof TenureError ? servedElsewhere(error) : error;
  }
}

/** Of an instance that may be running. @throws StoreError */
export async function* instanceSnapshot(instance: Instance): AsyncGenerator<SnapshotPage> {
  const { store: settings } = instance;
  if (settings === undefined) return yield* sqliteSnapshot(sqlitePath(instance.dataDirectory));
  const store = await openEtcdStore(etcdPlace(settings));
  try {
    yield* store.snapshot();
  } finally {
    await store.close();
  }
}

/** For a client that waits less than a server does. */
export function etcdPlace(settings: EtcdSettings, timeoutMilliseconds?: number): EtcdPlace {
  const { endpoints, prefix, half, owner, ca, cert, key } = settings;
  const read = (path: string): string => readFileSync(path, 'utf8');
  return {
    endpoints,
    prefix: `${prefix}/${half}`,
    owner,
    // Read at each connect: certificates are renewed.
    tls: () => ({
      ...(ca === undefined ? {} : { ca: read(ca) }),
      ...(cert === undefined || key === undefined ? {} : { cert: read(cert), key: read(key) }),
    }),
    ...(timeoutMilliseconds === undefined ? {} : { timeoutMilliseconds }),
  };
}

const PATIENCE = 3000;

/** Before a server is started that would only fail. @throws HostError `store-unreachable` */
export async function requireReachable(instance: Pick<Instance, 'store' | 'dataDirectory'>): Promise<void> {
  const { store } = instance;
  if (store === undefined) return;
  try {
    // Who restored the same backup elsewhere may have the other half.
    for (const half of ['a', 'b'] as const) await requirePlace(writtenPlace(instance, { ...store, half }, PATIENCE));
  } catch (error) {
    throw unreachable(store, error);
  }
}

export function unreachable(settings: EtcdSettings, error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  if (error instanceof TenureError) return servedElsewhere(error);
  return new HostError(
    'store-unreachable',
    `The state cannot be kept in etcd at ${settings.endpoints.join(', ')}: ${error.message}.`,
    'Start etcd, or mend --etcd-endpoints, --etcd-ca, --etcd-cert, --etcd-key, --etcd-prefix.',
    { cause: error },
  );
}

function servedElsewhere(error: TenureError): HostError {
  return new HostError(
    'conflict',
    `The state cannot be served from here: ${error.message}.`,
    'Stop the other one with `sampan down`, or give this instance a place of its own with --etcd-prefix.',
    { cause: error },
  );
}

/** A directory of one boot of one kernel: whoever starts there again is the same. */
function tenantOf({ dataDirectory }: Pick<Instance, 'dataDirectory'>): Tenant {
  const boot = bootId();
  const place = statSync(dataDirectory, { throwIfNoEntry: false });
  const directory = place === undefined ? dataDirectory : `${place.dev}:${place.ino}`;
  return { id: `${boot} ${directory}`, name: `${dataDirectory} on the host ${hostname()}` };
}

/** As `etcdPlace`, for who writes or removes: nothing that is served from elsewhere. */
export function writtenPlace(
  instance: Pick<Instance, 'dataDirectory'>,
  settings: EtcdSettings,
  timeoutMilliseconds?: number,
): EtcdPlace {
  return { ...etcdPlace(settings, timeoutMilliseconds), tenant: tenantOf(instance) };
}

/** Of an instance that is removed. */
export async function removeState(instance: Pick<Instance, 'dataDirectory'>, settings: EtcdSettings): Promise<void> {
  for (const half of ['a', 'b'] as const) await removeHalf(instance, { ...settings, half });
}

/** What is not needed any more. An etcd that is gone keeps nobody from going on. */
export async function removeHalf(instance: Pick<Instance, 'dataDirectory'>, settings: EtcdSettings): Promise<void> {
  try {
    await removeFromEtcd(writtenPlace(instance, settings, PATIENCE));
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { prefix, half } = settings;
    process.stderr.write(
      `warning: old state is left in etcd: ${error.message}\n  remedy: etcdctl del --prefix ${prefix}/${half}/; etcdctl del ${prefix}/${half}.meta\n`,
    );
  }
}
