/** Writes down what somebody asks of a broker: the controllers of `platform/services` do it. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { BrokerRequest } from '../../resources/service-types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Operated } from '../../services/operations.ts';
import { writeParameters } from '../../services/secrets.ts';
import type { Context, Json } from '../api.ts';
import type { Collection } from '../records.ts';

/** With its parameters, which are kept before anything names them. */
export async function newRequest(
  context: Pick<Context, 'client'>,
  identity: Identity,
  type: BrokerRequest['type'],
  parameters?: Json,
): Promise<BrokerRequest> {
  const id = randomUUID();
  if (parameters) await writeParameters(context.client, id, parameters);
  return {
    id,
    type,
    by: { guid: identity.userId, name: identity.userName },
    at: new Date().toISOString(),
    ...(parameters ? { parameters: true } : {}),
  };
}

/** @param refuse  throws where the object, as it is at this moment, must not have another request */
export function putRequest<T extends Operated>(
  collection: Collection<T>,
  guid: string,
  request: NonNullable<T['spec']['request']>,
  refuse: (current: T) => void,
): Promise<Stored<T>> {
  return collection.modify(guid, (current) => {
    refuse(current);
    return { ...current, spec: { ...current.spec, request } };
  });
}

/**
 * Resolves when this request has ended, with the object's removal too; rejects with the signal's reason.
 * @returns why it failed, or undefined
 */
export async function whenEnded<T extends Operated>(
  collection: Collection<T>,
  guid: string,
  { request, signal }: { request: string; signal: AbortSignal },
): Promise<string | undefined> {
  const look = (): { failure?: string } | undefined => {
    const object = collection.get(guid);
    if (!object) return {};
    const operation = object.status?.operation;
    if (object.spec.request?.id !== request) return { failure: 'another operation was begun' };
    if (operation?.request !== request || operation.phase !== 'ended') return undefined;
    return operation.state === 'failed' ? { failure: operation.error?.detail ?? operation.description } : {};
  };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = collection.informer.onChange(() => {
    if (look()) resolve();
  });
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    if (!look()) await promise;
  } finally {
    stop();
    signal.removeEventListener('abort', abort);
  }
  return look()?.failure;
}
