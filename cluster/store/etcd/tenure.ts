/**
 * Which server serves a store in etcd: one at a time, since a server answers reads, and gives out addresses and quotas, from memory.
 *
 * The key `P.server` names it, under a lease that it renews. Another one waits for as long as the lease of a server that died may last, and
 * refuses to start when it is renewed. The same server, killed and started again, takes it over at once. Every write compares the
 * key, so that a server that slept while another took its place writes nothing more; it takes the key back when nobody did.
 */
import { randomInt } from 'node:crypto';
import { coalesced } from '#lib/coalesced.ts';
import { StoreError } from '../store.ts';
import type { EtcdClient } from './client.ts';
import { GrpcError } from '#lib/grpc.ts';
import { repeatTxn } from './keyspace.ts';
import type { KeyValue } from './messages.ts';

export interface Tenant {
  /** The same for a server that was started again, and of no other. */
  id: string;
  /** For people: where it is. */
  name: string;
  /** Of its lease; default 10. A server that died keeps others waiting for so long. */
  seconds?: number;
  /** Between two renewals; default a third of it. */
  renewSeconds?: number;
}

export interface Tenure {
  readonly key: Buffer;
  /** Revision of etcd in which the key was taken. */
  readonly raw: number;
  /** Takes it back where it was lost to nobody. @throws TenureError */
  settle(): Promise<void>;
  /** Ends when it is another's. @throws TenureError */
  kept(): Promise<never>;
  /** The next one need not wait. */
  release(): Promise<void>;
}

/** Another server serves the store. */
export class TenureError extends StoreError {
  constructor(message: string) {
    super('unavailable', message);
    this.name = 'TenureError';
  }
}

const SECONDS = 10;
/** etcd ends leases a little later than their time. */
const SLACK_SECONDS = 3;

export const tenureKey = (prefix: string): Buffer => Buffer.from(`${prefix}.server`);

export async function takeTenure(client: EtcdClient, prefix: string, tenant: Tenant): Promise<Tenure> {
  const key = tenureKey(prefix);
  const stop = new AbortController();
  let lease = 0;
  let raw = 0;

  /** What is there is ours, or nobody's, as it was in `before`. */
  async function put(before: KeyValue | undefined): Promise<boolean> {
    const value = Buffer.from(JSON.stringify({ id: tenant.id, name: tenant.name, lease }));
    const { header, succeeded, kvs } = await repeatTxn(client, `serving ${prefix} in etcd`, {
      compare: [{ key, modRevision: before?.modRevision ?? 0 }],
      success: [{ put: { key, value, lease } }],
      failure: [{ range: { key } }],
    });
    const found = kvs[0]?.[0];
    // The answer to a first attempt may have been lost.
    const own = succeeded ? header.revision : found?.value.equals(value) === true ? found.modRevision : undefined;
    raw = own ?? raw;
    return own !== undefined;
  }

  async function take(): Promise<void> {
    while (!stop.signal.aborted) {
      const before = await untilFree(client, prefix, tenant);
      lease = randomInt(1, 2 ** 48 - 1);
      await client.grantLease(lease, tenant.seconds ?? SECONDS);
      if (await put(before)) return;
    }
  }

  const settle = coalesced(async () => {
    const { kvs } = await client.range(`serving ${prefix} in etcd`, { key });
    if (kvs[0]?.modRevision === raw || stop.signal.aborted) return;
    // Whoever has it now serves, a later run of the same server too.
    if (kvs[0] !== undefined) throw taken(prefix, holderOf(kvs[0]));
    await take();
  });

  async function kept(): Promise<never> {
    const pause = (tenant.renewSeconds ?? (tenant.seconds ?? SECONDS) / 3) * 1000;
    const ended = new Promise<never>((_resolve, reject) =>
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason)),
    );
    for (;;) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, pause).unref();
      await Promise.race([promise, ended]).finally(() => clearTimeout(timer));
      // While etcd does not answer nobody can take it either.
      await renew().catch((error: unknown) => {
        if (error instanceof TenureError || !(error instanceof GrpcError || error instanceof StoreError)) throw error;
      });
    }
  }

  async function renew(): Promise<void> {
    await client.renewLease(lease);
    await settle();
  }

  await take();
  return {
    key,
    get raw() {
      return raw;
    },
    settle,
    kept,
    async release() {
      stop.abort(new StoreError('unavailable', `the store ${prefix} in etcd is closed`));
      await client.revokeLease(lease).catch(() => undefined); // It ends by itself.
    },
  };
}

/**
 * Resolves when nobody else serves the store, also after waiting for one that died, with what is at the key: nothing, or what an
 * earlier run of the same server left. @throws TenureError
 */
export async function untilFree(client: EtcdClient, prefix: string, tenant: Tenant): Promise<KeyValue | undefined> {
  const key = tenureKey(prefix);
  const end = Buffer.concat([key, Buffer.alloc(1)]);
  const patience = AbortSignal.timeout(((tenant.seconds ?? SECONDS) + SLACK_SECONDS) * 1000);
  for (;;) {
    const { kvs, header } = await client.range(`opening ${prefix} in etcd`, { key });
    const [found] = kvs;
    if (found === undefined || holderOf(found).id === tenant.id) return found;
    if (patience.aborted) throw taken(prefix, holderOf(found));
    try {
      const changes = client.watch({ key, end, startRevision: header.revision + 1, signal: patience });
      for await (const { events } of changes) if (events.length > 0) break;
    } catch (error) {
      // A range tells more, and tells it in the store's words.
      if (!(error instanceof GrpcError)) throw error;
    }
  }
}

function taken(prefix: string, { name }: Tenant): TenureError {
  return new TenureError(
    `${prefix} in etcd is served by another server (${name}), and two would not know of each other`,
  );
}

/** What cannot be read is nobody's that is known. */
function holderOf({ value }: KeyValue): Tenant {
  try {
    const { id, name } = JSON.parse(value.toString()) as Tenant;
    return { id, name };
  } catch {
    return { id: '', name: value.toString().slice(0, 100) };
  }
}
