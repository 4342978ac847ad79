/**
 * The store's events from etcd's watch, over losses of members, leaders and connections: every event once, in order. A watch
 * that broke begins again at the last event that was seen, not after it, so that a compaction in between is always noticed.
 */
import { StoreError, type StoreEvent } from '../store.ts';
import { type EtcdClient, pause } from './client.ts';
import { GrpcError } from '#lib/grpc.ts';
import type { Keyspace } from './keyspace.ts';
import type { WatchAnswer } from './messages.ts';

export interface EventBatch {
  /** None when only the marker was written. */
  events: StoreEvent[];
  /** Of etcd, of the last of them. */
  raw: number;
}

/**
 * Those with a revision of etcd's after `after`, and those to come, until the signal. Rejects with `compacted` when history went
 * faster, with `corrupt` when etcd went back to what it was earlier, or is another one.
 */
export async function* eventsFrom(
  client: EtcdClient,
  keyspace: Keyspace,
  options: { after: number; signal: AbortSignal; onTrouble?: (error: Error) => void },
): AsyncGenerator<EventBatch> {
  const { signal, onTrouble } = options;
  let last = options.after;
  let clusterId: number | undefined;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      clusterId = await checkSameCluster(client, keyspace, { last, clusterId });
      for await (const answer of watchFrom(client, keyspace, last, signal)) {
        attempt = 0;
        const raw = answer.events.at(-1)?.kv.modRevision ?? last;
        if (raw <= last) continue;
        const events = eventsAfter(keyspace, answer, last);
        last = raw;
        yield { events, raw };
      }
    } catch (error) {
      if (signal.aborted) return;
      const passing = error instanceof GrpcError || (error instanceof StoreError && error.code === 'unavailable');
      if (!passing) throw error;
      if (attempt === 0) onTrouble?.(error);
      await pause(attempt, Number.POSITIVE_INFINITY);
    }
  }
}

/** A restored etcd gives out revisions anew that clients have seen with other contents. */
async function checkSameCluster(
  client: EtcdClient,
  { start, base }: Keyspace,
  { last, clusterId }: { last: number; clusterId: number | undefined },
): Promise<number> {
  const known = Math.max(last, base, client.newest);
  const { header } = await client.range('following etcd', { key: start, countOnly: true });
  if (header.revision < known || (clusterId ?? header.clusterId) !== header.clusterId)
    throw new StoreError(
      'corrupt',
      `etcd has revision ${header.revision} after it had ${known}: it was restored or replaced. Restore with \`sampan restore\``,
    );
  return header.clusterId;
}

async function* watchFrom(
  client: EtcdClient,
  { start, end }: Keyspace,
  last: number,
  signal: AbortSignal,
): AsyncGenerator<WatchAnswer> {
  for await (const answer of client.watch({ key: start, end, startRevision: Math.max(1, last), signal })) {
    if (answer.compactRevision > 0)
      throw new StoreError('compacted', `following etcd after ${last}: history begins at ${answer.compactRevision}`);
    if (answer.canceled) throw new StoreError('unavailable', `etcd ended the watch: ${answer.reason}`);
    yield answer;
  }
}

/** Those of one answer, without the marker. */
function eventsAfter(keyspace: Keyspace, { events }: WatchAnswer, after: number): StoreEvent[] {
  const found: StoreEvent[] = [];
  for (const { deleted, kv, previous } of events) {
    if (kv.modRevision <= after || kv.key.equals(keyspace.marker)) continue;
    const created = !deleted && kv.createRevision === kv.modRevision;
    // A compaction was faster than etcd's answer.
    if (!created && previous === undefined)
      throw new StoreError('compacted', `following etcd: what ${kv.key.toString()} was before is compacted`);
    const before = created || previous === undefined ? undefined : keyspace.toEntry(previous);
    const now = keyspace.toEntry(kv);
    found.push({
      type: deleted ? 'delete' : created ? 'create' : 'update',
      entry: deleted && before !== undefined ? { ...before, revision: now.revision } : now,
      previous: before,
    });
  }
  return found;
}
