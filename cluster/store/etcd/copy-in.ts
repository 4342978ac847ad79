import { type Entry, type SnapshotPage, StoreError } from '../store.ts';
import { type EtcdClient, type EtcdOptions, openEtcdClient } from './client.ts';
import { metaKey, metaText, rangeOf, readOwner, repeatTxn } from './keyspace.ts';
import { type Tenant, tenureKey, untilFree } from './tenure.ts';

export interface EtcdPlace extends EtcdOptions {
  /** As of `openEtcdStore`. */
  prefix: string;
  owner: string;
  /** Who asks. What another server serves is left as it is; absent: nobody else can. */
  tenant?: Tenant;
}

/** etcd's own limits are 128 operations and 1.5 MiB, which an entry may reach by itself. */
const BATCH_ENTRIES = 100;
const BATCH_BYTES = 1 << 20;

/**
 * A new store with these keys, at revisions after `after`, without history. Whatever of the same owner was at the prefix is removed
 * first. What says that there is a store is written last: killed before, it leaves none. Returns the number of keys.
 * @throws StoreError
 */
export async function copyIntoEtcd(
  place: EtcdPlace,
  pages: AsyncIterable<SnapshotPage>,
  after: number,
): Promise<number> {
  const client = openEtcdClient(place);
  const action = `copying into ${place.prefix} in etcd`;
  try {
    await requireFree(client, place);
    await removeAt(client, place.prefix);
    let first: number | undefined;
    let last = 0;
    let count = 0;
    for await (const batch of batches(pages)) {
      const success = batch.map(({ key, value }) => ({ put: { key: Buffer.from(place.prefix + key), value } }));
      const { header } = await repeatTxn(client, action, { compare: [], success, failure: [] });
      first ??= header.revision;
      last = header.revision;
      count += batch.length;
    }
    const value = metaText(after + 1 + (first === undefined ? 0 : last - first), place.owner);
    const key = metaKey(place.prefix);
    await repeatTxn(client, action, {
      compare: [{ key, modRevision: 0 }],
      success: [{ put: { key, value } }],
      failure: [],
    });
    return count;
  } finally {
    client.close();
  }
}

/** Nothing is left at the prefix of what is the owner's. @throws StoreError */
export async function removeFromEtcd(place: EtcdPlace): Promise<void> {
  const client = openEtcdClient(place);
  try {
    await requireFree(client, place);
    await removeAt(client, place.prefix);
  } finally {
    client.close();
  }
}

/** Does etcd answer, is there nothing of somebody else's, and does nobody else serve it? Changes nothing. @throws StoreError */
export async function requirePlace(place: EtcdPlace): Promise<void> {
  const client = openEtcdClient(place);
  try {
    await requireFree(client, place);
  } finally {
    client.close();
  }
}

/** Without the meta key the rest is nobody's: a copy that was killed. */
async function requireOwn(client: EtcdClient, { prefix, owner }: EtcdPlace): Promise<void> {
  const { kvs } = await client.range(`looking at ${prefix} in etcd`, { key: metaKey(prefix) });
  const [found] = kvs;
  if (found === undefined || readOwner(found.value) === owner) return;
  throw new StoreError('unavailable', `${prefix} in etcd belongs to another instance: use another prefix`);
}

async function requireFree(client: EtcdClient, place: EtcdPlace): Promise<void> {
  await requireOwn(client, place);
  if (place.tenant !== undefined) await untilFree(client, place.prefix, place.tenant);
}

async function removeAt(client: EtcdClient, prefix: string): Promise<void> {
  const { start, end } = rangeOf(prefix);
  const success = [
    { remove: { key: metaKey(prefix) } },
    { remove: { key: tenureKey(prefix) } },
    { remove: { key: start, end } },
  ];
  await repeatTxn(client, `removing ${prefix} from etcd`, { compare: [], success, failure: [] });
}

async function* batches(pages: AsyncIterable<SnapshotPage>): AsyncGenerator<Entry[]> {
  let batch: Entry[] = [];
  let bytes = 0;
  for await (const { entries } of pages)
    for (const entry of entries) {
      const size = entry.key.length + entry.value.byteLength;
      if (batch.length > 0 && (batch.length === BATCH_ENTRIES || bytes + size > BATCH_BYTES)) {
        yield batch;
        [batch, bytes] = [[], 0];
      }
      batch.push(entry);
      bytes += size;
    }
  if (batch.length > 0) yield batch;
}
