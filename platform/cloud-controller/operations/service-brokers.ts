/** Takes a broker away with what goes with it. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceBroker } from '../../resources/service-types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { newRequest, putRequest, whenEnded } from './requests.ts';

/** Resolves when it is gone. Of its services there must be no instances. */
export async function removeBroker(context: Context, identity: Identity, broker: Stored<ServiceBroker>): Promise<void> {
  const { name } = broker.metadata;
  const request = await newRequest(context, identity, 'delete');
  await putRequest(context.records.serviceBrokers, name, request, () => undefined);
  const { signal } = context.jobs;
  const failure = await whenEnded(context.records.serviceBrokers, name, { request: request.id, signal });
  if (failure !== undefined) throw unprocessable(failure);
}
