import { StoreError, type StoreErrorCode } from '../store.ts';
import { GrpcError, grpcStatus } from '#lib/grpc.ts';

/** Answers by which etcd says that it did not do what was asked (etcd's `rpctypes`), as ours. */
const refusals: { said: RegExp; code: StoreErrorCode; text: string }[] = [
  { said: /required revision has been compacted/, code: 'compacted', text: 'history no longer holds that revision' },
  { said: /required revision is a future revision/, code: 'future', text: 'there is no such revision yet' },
  {
    said: /request is too large|larger than max/,
    code: 'too-large',
    text: 'it is larger than etcd takes: start etcd with a greater --max-request-bytes',
  },
  {
    said: /database space exceeded/,
    code: 'unavailable',
    text: "etcd's quota is used up: compact and defragment it, then `etcdctl alarm disarm`",
  },
  { said: /lease already exists/, code: 'unavailable', text: 'the lease is there already' },
  { said: /requested lease not found/, code: 'unavailable', text: 'the lease ended meanwhile' },
  { said: /too many requests/, code: 'unavailable', text: 'etcd has too many requests: try again' },
  {
    said: /permission denied|user name is empty|invalid auth token/,
    code: 'unavailable',
    text: 'etcd refuses this client: check its certificate',
  },
];

function refusal({ message }: GrpcError): (typeof refusals)[number] | undefined {
  return refusals.find(({ said }) => said.test(message));
}

/** Of a client that was closed, and of one that may not. */
const final: readonly number[] = [grpcStatus.cancelled, grpcStatus.permissionDenied];

/** Did etcd decide against it? Else it may have happened, or may happen yet, when it was sent. */
export function isRefused(error: GrpcError): boolean {
  return refusal(error) !== undefined || final.includes(error.status);
}

/** `action` begins the message. */
export function toStoreError(error: unknown, action: string, code: StoreErrorCode = 'unavailable'): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const known = error instanceof GrpcError ? refusal(error) : undefined;
  if (known !== undefined) return new StoreError(known.code, `${action}: ${known.text} (${message})`, { cause: error });
  return new StoreError(code, `${action}: etcd does not answer (${message})`, { cause: error });
}
