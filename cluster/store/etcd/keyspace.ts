/**
 * Where a store lies in an etcd that others may use too, and how its revisions are counted.
 *
 * With the prefix `P` the key `/registry/x` lies at `P/registry/x`. `P.meta` says which revision of ours the revision of etcd was in which
 * it was written; from there both count alike. So a new store begins at 0 wherever etcd is, and one that was moved or
 * restored goes on above every revision that its clients may have seen; what is older is compacted for them.
 * `P/`, the marker, is nobody's key: see `writes.ts`.
 */
import { type Entry, StoreError } from '../store.ts';
import { isRefused, toStoreError } from './errors.ts';
import { attemptMilliseconds, type EtcdClient, pause } from './client.ts';
import { GrpcError } from '#lib/grpc.ts';
import type { KeyValue, Transaction, TxnAnswer } from './messages.ts';

export interface Keyspace {
  /** Every key of the store, the marker too. */
  readonly start: Buffer;
  readonly end: Buffer;
  readonly marker: Buffer;
  /** Of etcd, in which `meta` was written. */
  readonly base: number;
  /** The oldest revision of ours with history. */
  readonly floor: number;
  physical(key: string): Buffer;
  toEntry(kv: KeyValue): Entry;
  /** From etcd's revision to ours. */
  revision(raw: number): number;
  raw(revision: number): number;
}

interface Meta {
  format: number;
  /** Ours, when it was written. */
  revision: number;
  /** Whose it is; empty where nobody said. */
  owner: string;
}

const FORMAT = 1;

export const metaKey = (prefix: string): Buffer => Buffer.from(`${prefix}.meta`);
export const rangeOf = (prefix: string): { start: Buffer; end: Buffer } => ({
  start: Buffer.from(`${prefix}/`),
  end: Buffer.from(`${prefix}0`),
});

export function metaText(revision: number, owner: string): Buffer {
  const meta: Meta = { format: FORMAT, revision, owner };
  return Buffer.from(JSON.stringify(meta));
}

/** Makes the store where it is new. @throws StoreError `unavailable` when it is somebody else's */
export async function openKeyspace(client: EtcdClient, prefix: string, owner: string): Promise<Keyspace> {
  const key = metaKey(prefix);
  const action = `opening ${prefix} in etcd`;
  await repeatTxn(client, action, {
    compare: [{ key, modRevision: 0 }],
    success: [{ put: { key, value: metaText(0, owner) } }],
    failure: [],
  });
  const { kvs } = await client.range(action, { key });
  const [found] = kvs;
  if (found === undefined) throw new StoreError('unavailable', `${action}: it is being removed`);
  const meta = readMeta(found.value, action);
  if (owner !== '' && meta.owner !== owner)
    throw new StoreError(
      'unavailable',
      `${action}: it belongs to another instance (${JSON.stringify(meta.owner)}): use another prefix`,
    );
  return keyspaceOf(prefix, found.modRevision, meta.revision);
}

/** Empty where it cannot be read. */
export function readOwner(value: Buffer): string {
  try {
    return (JSON.parse(value.toString()) as Partial<Meta>).owner ?? '';
  } catch {
    return '';
  }
}

function readMeta(value: Buffer, action: string): Meta {
  let meta: Partial<Meta> = {};
  try {
    meta = JSON.parse(value.toString()) as Partial<Meta>;
  } catch {
    // As one of another format.
  }
  if (meta.format === FORMAT && Number.isSafeInteger(meta.revision)) return { owner: '', ...meta } as Meta;
  throw new StoreError(
    'corrupt',
    `${action}: it has no format that this version reads: ${value.toString().slice(0, 100)}`,
  );
}

function keyspaceOf(prefix: string, base: number, floor: number): Keyspace {
  const { start, end } = rangeOf(prefix);
  const revision = (raw: number): number => raw - base + floor;
  return {
    start,
    end,
    marker: start,
    base,
    floor,
    physical: (key) => Buffer.from(prefix + key),
    toEntry: ({ key, value, modRevision, createRevision }) => ({
      key: key.toString('latin1', prefix.length),
      value: new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
      revision: revision(modRevision),
      createRevision: revision(createRevision),
    }),
    revision,
    raw: (ours) => ours - floor + base,
  };
}

/** For a transaction that may be done twice. @throws StoreError */
export async function repeatTxn(client: EtcdClient, action: string, transaction: Transaction): Promise<TxnAnswer> {
  const deadline = performance.now() + client.timeoutMilliseconds;
  for (let attempt = 0; ; attempt++) {
    try {
      return await client.txn(transaction, attemptMilliseconds(deadline));
    } catch (error) {
      if (!(error instanceof GrpcError) || isRefused(error) || !(await pause(attempt, deadline)))
        throw toStoreError(error, action);
    }
  }
}
