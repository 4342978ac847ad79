/** etcd's API v3 as the driver speaks it: requests that may be repeated are, until a deadline. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ProtobufWriter } from '#lib/protobuf.ts';
import { StoreError } from '../store.ts';
import { isRefused, toStoreError } from './errors.ts';
import { GrpcError, type GrpcOptions, openGrpc } from '#lib/grpc.ts';
import {
  compactRequest,
  isRenewed,
  type Header,
  leaseIdRequest,
  leaseRequest,
  type RangeAnswer,
  type RangeQuery,
  rangeRequest,
  readRange,
  readTxn,
  readWatch,
  type Transaction,
  type TxnAnswer,
  txnRequest,
  type WatchAnswer,
  watchRequest,
} from './messages.ts';

export interface EtcdOptions extends GrpcOptions {
  /** For a request with all its repetitions; default 10,000. */
  timeoutMilliseconds?: number;
}

export interface EtcdClient {
  readonly timeoutMilliseconds: number;
  /** The greatest revision that any answer told: etcd never shows less to a later question. */
  readonly newest: number;
  /** Linearizable. Repeated while etcd does not answer. @throws StoreError */
  range(action: string, query: RangeQuery): Promise<RangeAnswer>;
  /** Once: whoever asks knows what a repetition would do. @throws GrpcError */
  txn(transaction: Transaction, milliseconds: number): Promise<TxnAnswer>;
  /** Forgets what only older revisions show, for everybody who uses this etcd. @throws StoreError */
  compact(revision: number): Promise<void>;
  /** @param id  chosen by who asks: a request that is repeated makes one lease. @throws StoreError */
  grantLease(id: number, seconds: number): Promise<void>;
  /** Once. False: it is gone. @throws GrpcError */
  renewLease(id: number): Promise<boolean>;
  /** Once. @throws GrpcError */
  revokeLease(id: number): Promise<void>;
  /** Ends with an error or by the signal. @throws GrpcError */
  watch(options: { key: Buffer; end: Buffer; startRevision: number; signal: AbortSignal }): AsyncGenerator<WatchAnswer>;
  close(): void;
}

const ATTEMPT_MILLISECONDS = 4000;
/** Whoever closes does not wait long for it. */
const REVOKE_MILLISECONDS = 1000;
const PAUSES = [0, 20, 50, 100, 200, 400];

export function openEtcdClient(options: EtcdOptions): EtcdClient {
  const grpc = openGrpc(options);
  const timeoutMilliseconds = options.timeoutMilliseconds ?? 10_000;

  async function repeated(action: string, path: string, request: ProtobufWriter): Promise<Buffer> {
    const deadline = performance.now() + timeoutMilliseconds;
    for (let attempt = 0; ; attempt++) {
      try {
        return await grpc.call(path, request, { milliseconds: attemptMilliseconds(deadline) });
      } catch (error) {
        if (!(error instanceof GrpcError) || isRefused(error)) throw toStoreError(error, action);
        if (!(await pause(attempt, deadline))) throw toStoreError(error, action);
      }
    }
  }

  let newest = 0;
  const noted = <Answer extends { header: Header }>(answer: Answer): Answer => {
    newest = Math.max(newest, answer.header.revision);
    return answer;
  };

  return {
    timeoutMilliseconds,
    get newest() {
      return newest;
    },
    range: async (action, query) =>
      noted(readRange(await repeated(action, '/etcdserverpb.KV/Range', rangeRequest(query)))),
    txn: async (transaction, milliseconds) =>
      noted(readTxn(await grpc.call('/etcdserverpb.KV/Txn', txnRequest(transaction), { milliseconds }))),
    async compact(revision) {
      try {
        await repeated(`compacting at ${revision}`, '/etcdserverpb.KV/Compact', compactRequest(revision));
      } catch (error) {
        // It was compacted already, by us or by somebody else.
        if (!(error instanceof StoreError && error.code === 'compacted')) throw error;
      }
    },
    async grantLease(id, seconds) {
      try {
        await repeated('asking for a lease', '/etcdserverpb.Lease/LeaseGrant', leaseRequest(id, seconds));
      } catch (error) {
        // An answer was lost.
        if (!(error instanceof StoreError && /lease already exists/.test(error.message))) throw error;
      }
    },
    async renewLease(id) {
      const options = { milliseconds: ATTEMPT_MILLISECONDS };
      return isRenewed(await grpc.call('/etcdserverpb.Lease/LeaseKeepAlive', leaseIdRequest(id), options));
    },
    async revokeLease(id) {
      await grpc.call('/etcdserverpb.Lease/LeaseRevoke', leaseIdRequest(id), { milliseconds: REVOKE_MILLISECONDS });
    },
    async *watch({ signal, ...where }) {
      for await (const message of grpc.stream('/etcdserverpb.Watch/Watch', watchRequest(where), { signal }))
        yield readWatch(message);
    },
    close: () => grpc.close(),
  };
}

/** A member may have lost the others: then another is asked. */
export function attemptMilliseconds(deadline: number): number {
  return Math.max(1, Math.ceil(Math.min(deadline - performance.now(), ATTEMPT_MILLISECONDS)));
}

/** Before the next attempt. False when there is no time for one. */
export async function pause(attempt: number, deadline: number): Promise<boolean> {
  const milliseconds = PAUSES[Math.min(attempt, PAUSES.length - 1)] ?? 0;
  if (performance.now() + milliseconds + 1 >= deadline) return false;
  // Clients that failed together do not come back together.
  await delay(milliseconds * (0.5 + Math.random() / 2));
  return true;
}
