/** Brokers that the platform brings: registered when it starts, and their catalogs read again, as they may have changed with it. */
import { randomUUID } from 'node:crypto';
import { nameGuid } from '#lib/name-guid.ts';
import type { Context } from '../cloud-controller/api.ts';
import type { BrokerRequest, ServiceBroker } from '../resources/service-types.ts';
import { brokerSecret, writeLogin } from './secrets.ts';
import type { OwnBroker } from './services.ts';

/** As brokers are told who is behind a request. */
const PLATFORM = { guid: '', name: 'platform' };

/** Resolves when it is written down; the controllers do it. A broker that an administrator has by this name stays the only one. */
export async function registerOwnBrokers(
  context: Pick<Context, 'client' | 'records' | 'reservations' | 'log'>,
  brokers: readonly OwnBroker[],
): Promise<void> {
  const { client, records, reservations, log } = context;
  for (const { name, url, username, password } of brokers) {
    const guid = nameGuid(`own broker\n${name}`);
    const request = (type: 'create' | 'update'): BrokerRequest => ({
      id: randomUUID(),
      type,
      by: PLATFORM,
      at: new Date().toISOString(),
    });
    await writeLogin(client, brokerSecret(guid), { username, password });
    if (records.serviceBrokers.get(guid)) {
      await records.serviceBrokers.modify(guid, (current) => again(current, url, request('update')));
      continue;
    }
    if (!(await reservations.take('brokername', [name], { resource: 'servicebrokers', name: guid }))) {
      log('warn', "A service broker has the name of the platform's own, which is not registered", { name });
      continue;
    }
    const spec = { displayName: name, url, own: true, request: request('create') };
    await records.serviceBrokers.create({ metadata: { name: guid }, spec });
  }
}

/** What is under way reads the catalog, too; a deletion goes on. */
function again(current: ServiceBroker, url: string, request: BrokerRequest): ServiceBroker {
  const { request: old } = current.spec;
  const ended = old === undefined || current.status?.operation?.phase === 'ended';
  return { ...current, spec: { ...current.spec, url, ...(ended ? { request } : {}) } };
}
