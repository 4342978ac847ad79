/**
 * Clients of UAA that dashboards of services log users in with: there while they are in their broker's catalog. An id is the first
 * one's who had it: no broker gets a client that an administrator, the platform or another broker has made.
 *
 * Users are asked before such a dashboard is told who they are, and what of a service instance they may do.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Stored } from '#cluster/kinds/kind.ts';
import { oauthClients, type OauthClient } from '../resources/types.ts';
import type { ServiceBroker } from '../resources/service-types.ts';
import { Clients } from '../uaa/clients.ts';
import { SERVICE_PERMISSIONS_SCOPE, UaaError } from '../uaa/uaa.ts';
import type { CatalogService, DashboardClient } from './catalog.ts';
import type { ServicesContext } from './context.ts';
import { BrokerError } from './services.ts';

type Broker = Stored<ServiceBroker>;
type Cloud = Pick<ServicesContext, 'client' | 'audit'>;

/** Before anything of the catalog is taken. @throws BrokerError */
export async function requireFreeClients({ client }: Cloud, broker: Broker, services: CatalogService[]): Promise<void> {
  const clients = new Clients(client, []);
  const taken: string[] = [];
  for (const { name, dashboardClient } of services) {
    if (!dashboardClient) continue;
    const known = await clients.find(dashboardClient.id);
    const isOurs = known !== undefined && 'broker' in known && known.broker === broker.metadata.name;
    if (known && !isOurs) taken.push(name);
  }
  if (taken.length > 0) throw notUnique(taken);
}

/** As the catalog has them; those that it does not have any more go. @throws BrokerError */
export async function syncClients(context: Cloud, broker: Broker, services: CatalogService[]): Promise<void> {
  const clients = new Clients(context.client, []);
  for (const { name, dashboardClient } of services) {
    if (dashboardClient) await put(context, clients, { broker, service: name }, dashboardClient);
  }
  await removeClients(context, broker, new Set(services.map(({ dashboardClient }) => dashboardClient?.id ?? '')));
}

export async function removeClients(
  context: Cloud,
  broker: Broker,
  except: ReadonlySet<string> = new Set(),
): Promise<void> {
  const clients = new Clients(context.client, []);
  for (const { spec } of (await context.client.list(oauthClients)).items) {
    if (spec.broker !== broker.metadata.name || except.has(spec.id)) continue;
    await clients.remove(spec.id);
    await tell(context, broker, spec.id, 'delete');
  }
}

async function put(
  context: Cloud,
  clients: Clients,
  { broker, service }: { broker: Broker; service: string },
  { id, secret, redirectUri }: DashboardClient,
): Promise<void> {
  const spec: OauthClient['spec'] = {
    id,
    grants: ['authorization_code'],
    scopes: ['openid', SERVICE_PERMISSIONS_SCOPE],
    authorities: ['uaa.none'],
    redirectUris: [redirectUri],
    autoApprove: false,
    broker: broker.metadata.name,
  };
  const known = await clients.stored(id);
  if (known === undefined) {
    try {
      await clients.register(spec, secret);
    } catch (error) {
      // Somebody was faster.
      if (error instanceof UaaError && error.code === 'invalid_client_metadata') throw notUnique([service]);
      throw error;
    }
    await tell(context, broker, id, 'create');
    return;
  }
  if (known.spec.broker !== broker.metadata.name) throw notUnique([service]);
  if (!isDeepStrictEqual(known.spec, spec)) await clients.change(known, spec);
  await clients.setSecret(id, secret);
}

function notUnique(services: string[]): BrokerError {
  const lines = services.map((name) => `Service ${name}\n  Service dashboard client id must be unique\n`);
  return new BrokerError(`Service broker catalog is invalid: \n${lines.join('')}`, {
    title: 'ServiceBrokerCatalogInvalid',
  });
}

function tell({ audit }: Cloud, broker: Broker, id: string, verb: 'create' | 'delete'): Promise<void> {
  return audit.record({
    type: `audit.service_dashboard_client.${verb}`,
    actor: { guid: broker.metadata.name, type: 'service_broker', name: broker.spec.displayName },
    target: { guid: id, type: 'service_dashboard_client', name: id },
  });
}
