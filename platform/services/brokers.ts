/** Brokers: their catalogs are fetched when they are registered and updated; with a broker its catalog goes. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceBroker } from '../resources/service-types.ts';
import { removeCatalog, syncCatalog } from './catalog-sync.ts';
import { BrokerClient } from './client.ts';
import type { ServicesContext } from './context.ts';
import type { Course, Step } from './operations.ts';
import { brokerSecret, readLogin, removeSecret, writeLogin } from './secrets.ts';

type Broker = Stored<ServiceBroker>;

/** A catalog is there at once, or not. */
const CATALOG_SECONDS = 3600;

export function brokerCourse(context: ServicesContext): Course<ServiceBroker> {
  const { records, reservations } = context;
  const release = (broker: Broker, name: string) =>
    reservations.release('brokername', [name], { resource: 'servicebrokers', name: broker.metadata.name });
  return {
    collection: records.serviceBrokers,
    longestSeconds: () => CATALOG_SECONDS,
    ask: (broker, { type }) =>
      type === 'delete' ? Promise.resolve<Step>({ state: 'gone' }) : synchronize(context, broker),
    succeed: async (broker) => {
      const { name } = broker.metadata;
      const { request } = broker.spec;
      if (request?.type !== 'update') return;
      if (request.login) {
        const login = await readLogin(context.client, brokerSecret(request.id));
        await writeLogin(context.client, brokerSecret(name), login);
      }
      const old = broker.spec.displayName;
      // Before its object has the new name: who comes after a crash does it again.
      if (request.displayName !== undefined && request.displayName !== old) await release(broker, old);
      await records.serviceBrokers.modify(name, (current) => ({
        ...current,
        spec: {
          ...current.spec,
          displayName: request.displayName ?? current.spec.displayName,
          url: request.url ?? current.spec.url,
          ...(request.userMetadata ? { userMetadata: request.userMetadata } : {}),
        },
      }));
    },
    fail: async (broker) => {
      const { displayName } = broker.spec.request ?? {};
      if (displayName !== undefined && displayName !== broker.spec.displayName) await release(broker, displayName);
    },
    forget: ({ id, type }) => (type === 'update' ? removeSecret(context.client, brokerSecret(id)) : Promise.resolve()),
    remove: async (broker) => {
      await removeCatalog(context, broker);
      await removeSecret(context.client, brokerSecret(broker.metadata.name));
      await records.serviceBrokers.delete(broker.metadata.name);
      await release(broker, broker.spec.displayName);
    },
    verb: ({ type }) => (type === 'delete' ? 'delete' : 'synchronize'),
    // The cloud controller tells of brokers when it is asked, with what it was asked.
    tell: () => Promise.resolve(),
    orphan: () => undefined,
  };
}

/** As the broker is to be: what an update brings counts once its catalog could be read. */
async function synchronize(context: ServicesContext, broker: Broker): Promise<Step> {
  const { request, url } = broker.spec;
  const secret = request?.login ? request.id : broker.metadata.name;
  const login = await readLogin(context.client, brokerSecret(secret));
  const isOnlyNamed = request?.type === 'update' && request.url === undefined && !request.login;
  if (isOnlyNamed && request.displayName !== undefined) return { state: 'succeeded' };
  const access = { url: request?.url ?? url, ...login };
  const { transport, signal } = context;
  const client = new BrokerClient({
    transport,
    access,
    signal,
    ...(request ? { by: request.by.guid } : {}),
  });
  const warnings = await syncCatalog(context, broker, await client.catalog());
  return { state: 'succeeded', ...(warnings.length > 0 ? { warnings } : {}) };
}
