/** The messages of etcd's API v3 that the driver needs (etcd's `rpc.proto` and `kv.proto`): requests to bytes, bytes to answers. */
import { ProtobufWriter, protobufBytes, protobufFields } from '#lib/protobuf.ts';

export interface KeyValue {
  key: Buffer;
  value: Buffer;
  createRevision: number;
  modRevision: number;
}

export interface Header {
  clusterId: number;
  revision: number;
}

export interface RangeAnswer {
  header: Header;
  kvs: KeyValue[];
  /** Of the whole range, whatever the limit. */
  count: number;
}

export interface TxnAnswer {
  header: Header;
  succeeded: boolean;
  /** Of the operations of the branch that was taken, in order: what each read, or what it replaced. */
  kvs: KeyValue[][];
}

export interface WatchAnswer {
  header: Header;
  created: boolean;
  canceled: boolean;
  /** Not 0: the watch began before history does, which is at this revision. */
  compactRevision: number;
  reason: string;
  events: { deleted: boolean; kv: KeyValue; previous: KeyValue | undefined }[];
}

export interface RangeQuery {
  key: Uint8Array;
  /** Up to, and without, this one. */
  end?: Uint8Array;
  limit?: number;
  /** 0: now. */
  revision?: number;
  keysOnly?: boolean;
  countOnly?: boolean;
}

export function rangeRequest({ key, end, limit = 0, revision = 0, keysOnly, countOnly }: RangeQuery): ProtobufWriter {
  const writer = new ProtobufWriter().bytes(1, key);
  if (end !== undefined) writer.bytes(2, end);
  if (limit > 0) writer.int(3, limit);
  if (revision > 0) writer.int(4, revision);
  if (keysOnly === true) writer.int(8, 1);
  if (countOnly === true) writer.int(9, 1);
  return writer;
}

/** One step of a transaction. */
export type Operation =
  | { range: RangeQuery }
  /** With a lease it goes when the lease ends. */
  | { put: { key: Uint8Array; value: Uint8Array; lease?: number } }
  /** Its answer holds what was deleted. */
  | { remove: { key: Uint8Array; end?: Uint8Array } };

/** `success` is done when each of the keys has this revision (0: is not there), `failure` when one has not. */
export interface Transaction {
  compare: { key: Uint8Array; modRevision: number }[];
  success: Operation[];
  failure: Operation[];
}

const MOD_REVISION = 2;

export function txnRequest({ compare, success, failure }: Transaction): ProtobufWriter {
  const writer = new ProtobufWriter();
  for (const { key, modRevision } of compare)
    writer.bytes(1, new ProtobufWriter().int(2, MOD_REVISION).bytes(3, key).int(6, modRevision));
  for (const operation of success) writer.bytes(2, operationOf(operation));
  for (const operation of failure) writer.bytes(3, operationOf(operation));
  return writer;
}

function operationOf(operation: Operation): ProtobufWriter {
  if ('range' in operation) return new ProtobufWriter().bytes(1, rangeRequest(operation.range));
  if ('put' in operation) {
    const { key, value, lease } = operation.put;
    const put = new ProtobufWriter().bytes(1, key).bytes(2, value);
    if (lease !== undefined) put.int(3, lease);
    return new ProtobufWriter().bytes(2, put);
  }
  const { key, end } = operation.remove;
  const remove = new ProtobufWriter().bytes(1, key);
  if (end !== undefined) remove.bytes(2, end);
  // A range may be large, and nobody asks for what was in it.
  else remove.int(3, 1);
  return new ProtobufWriter().bytes(3, remove);
}

export function compactRequest(revision: number): ProtobufWriter {
  return new ProtobufWriter().int(1, revision);
}

export function watchRequest(options: { key: Uint8Array; end: Uint8Array; startRevision: number }): ProtobufWriter {
  const create = new ProtobufWriter().bytes(1, options.key).bytes(2, options.end).int(3, options.startRevision);
  return new ProtobufWriter().bytes(1, create.int(6, 1));
}

export function leaseRequest(id: number, seconds: number): ProtobufWriter {
  return new ProtobufWriter().int(1, seconds).int(2, id);
}

/** To renew a lease, and to end it. */
export function leaseIdRequest(id: number): ProtobufWriter {
  return new ProtobufWriter().int(1, id);
}

/** A lease that is gone has no time left. */
export function isRenewed(bytes: Buffer): boolean {
  return [...protobufFields(bytes)].some(({ number, value }) => number === 3 && Number(value) > 0);
}

const nothing = Buffer.alloc(0);
const noHeader: Header = { clusterId: 0, revision: 0 };

function readHeader(bytes: Buffer): Header {
  const header = { ...noHeader };
  for (const { number, value } of protobufFields(bytes)) {
    if (number === 1) header.clusterId = Number(value);
    if (number === 3) header.revision = Number(value);
  }
  return header;
}

function readKeyValue(bytes: Buffer): KeyValue {
  const kv: KeyValue = { key: nothing, value: nothing, createRevision: 0, modRevision: 0 };
  for (const { number, value } of protobufFields(bytes)) {
    if (number === 1) kv.key = protobufBytes(value);
    else if (number === 2) kv.createRevision = Number(value);
    else if (number === 3) kv.modRevision = Number(value);
    else if (number === 5) kv.value = protobufBytes(value);
  }
  return kv;
}

export function readRange(bytes: Buffer): RangeAnswer {
  const answer: RangeAnswer = { header: noHeader, kvs: [], count: 0 };
  for (const { number, value } of protobufFields(bytes)) {
    if (number === 1) answer.header = readHeader(protobufBytes(value));
    else if (number === 2) answer.kvs.push(readKeyValue(protobufBytes(value)));
    else if (number === 4) answer.count = Number(value);
  }
  return answer;
}

export function readTxn(bytes: Buffer): TxnAnswer {
  const answer: TxnAnswer = { header: noHeader, succeeded: false, kvs: [] };
  for (const { number, value } of protobufFields(bytes)) {
    if (number === 1) answer.header = readHeader(protobufBytes(value));
    else if (number === 2) answer.succeeded = value === 1;
    else if (number === 3) answer.kvs.push(readOperation(protobufBytes(value)));
  }
  return answer;
}

/** Field of the key-values in the answer to a range, a put and a delete, by the field of that answer. */
const KEY_VALUES: Readonly<Record<number, number>> = { 1: 2, 2: 2, 3: 3 };

function readOperation(bytes: Buffer): KeyValue[] {
  const kvs: KeyValue[] = [];
  for (const { number, value } of protobufFields(bytes))
    for (const inner of protobufFields(protobufBytes(value)))
      if (inner.number === KEY_VALUES[number]) kvs.push(readKeyValue(protobufBytes(inner.value)));
  return kvs;
}

export function readWatch(bytes: Buffer): WatchAnswer {
  const answer: WatchAnswer = {
    header: noHeader,
    created: false,
    canceled: false,
    compactRevision: 0,
    reason: '',
    events: [],
  };
  for (const { number, value } of protobufFields(bytes)) {
    if (number === 1) answer.header = readHeader(protobufBytes(value));
    else if (number === 3) answer.created = value === 1;
    else if (number === 4) answer.canceled = value === 1;
    else if (number === 5) answer.compactRevision = Number(value);
    else if (number === 6) answer.reason = protobufBytes(value).toString();
    else if (number === 11) answer.events.push(readEvent(protobufBytes(value)));
  }
  return answer;
}

function readEvent(bytes: Buffer): WatchAnswer['events'][number] {
  const event: WatchAnswer['events'][number] = { deleted: false, kv: readKeyValue(nothing), previous: undefined };
  for (const { number, value } of protobufFields(bytes)) {
    if (number === 1) event.deleted = value === 1;
    else if (number === 2) event.kv = readKeyValue(protobufBytes(value));
    else if (number === 3) event.previous = readKeyValue(protobufBytes(value));
  }
  return event;
}
