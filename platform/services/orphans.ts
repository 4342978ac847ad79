/** Deletes at brokers what they may have made and nobody has. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { systemNamespace } from '../resources/types.ts';
import { type BrokerRequest, type ServiceOrphan } from '../resources/service-types.ts';
import { clientOf, type ServicesContext } from './context.ts';
import { BrokerError } from './services.ts';

const FIRST_WAIT = 1_000;
const LAST_WAIT = 10 * 60_000;

export function orphanName(request: Pick<BrokerRequest, 'id'>): string {
  return `orphan-${request.id}`;
}

export function orphanOf(
  { records }: Pick<ServicesContext, 'records'>,
  request: Pick<BrokerRequest, 'id'>,
): Stored<ServiceOrphan> | undefined {
  return records.serviceOrphans.get(orphanName(request));
}

/** Before anybody is told of the failure: who comes after a crash finds it. */
export async function noteOrphan(
  { records }: Pick<ServicesContext, 'records'>,
  request: Pick<BrokerRequest, 'id'>,
  spec: ServiceOrphan['spec'],
): Promise<void> {
  try {
    await records.serviceOrphans.create({ metadata: { name: orphanName(request), namespace: systemNamespace }, spec });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
}

/** Resolves to when it wants to be tried again, in milliseconds. */
export async function deleteOrphan(context: ServicesContext, name: string): Promise<number | undefined> {
  const { serviceOrphans, serviceBrokers } = context.records;
  const orphan = serviceOrphans.get(name);
  if (!orphan) return undefined;
  const broker = serviceBrokers.get(orphan.spec.broker);
  if (!broker) {
    context.log('warn', 'An orphan of a service broker stays: the broker is not known any more', { ...orphan.spec });
    await serviceOrphans.delete(name);
    return undefined;
  }
  const attempts = (orphan.status?.attempts ?? 0) + 1;
  const outcome = await attempt(context, orphan);
  if (outcome === 'gone') {
    context.log('info', 'An orphan of a service broker was deleted', { ...orphan.spec, attempts });
    await serviceOrphans.delete(name);
    return undefined;
  }
  await serviceOrphans.modifyStatus(name, (current) => ({ ...current, status: { attempts, ...outcome } }));
  return Math.min(LAST_WAIT, FIRST_WAIT * 2 ** Math.min(20, attempts - 1));
}

type Outcome = 'gone' | Omit<NonNullable<ServiceOrphan['status']>, 'attempts'>;

async function attempt(context: ServicesContext, orphan: Stored<ServiceOrphan>): Promise<Outcome> {
  const { spec, status } = orphan;
  const broker = context.records.serviceBrokers.get(spec.broker);
  if (!broker) return {};
  const { binding } = spec;
  try {
    const client = await clientOf(context, broker);
    if (status?.accepted) {
      const { state, description } = await client.progress(spec, status.brokerOperation);
      if (state === 'gone' || state === 'succeeded') return 'gone';
      if (state === 'in progress') return { ...status, accepted: true };
      // It failed, or the broker has forgotten that it was at it: from the beginning.
      return { error: description ?? state };
    }
    const answer = binding === undefined ? await client.deprovision(spec) : await client.unbind({ ...spec, binding });
    if (!answer.accepted) return 'gone';
    const { operation } = answer;
    return { accepted: true, ...(operation === undefined ? {} : { brokerOperation: operation }) };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    return { error: error.message.slice(0, 500) };
  }
}
