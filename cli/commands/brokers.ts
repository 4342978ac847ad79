/** Service brokers, and who may have what they offer. */
import type { Api } from '../api.ts';
import { byName, type SpaceContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { note, print, printJson, table } from '../output.ts';
import type { Named } from '../resources.ts';

export interface BrokerFlags {
  spaceScoped?: boolean;
  force?: boolean;
  plan?: string;
  organization?: string;
  broker?: string;
  json?: boolean;
}

interface Broker extends Named {
  url: string;
}

export async function createBroker(
  { api, space }: SpaceContext,
  [name, username, password, url]: [string, string, string, string],
  options: BrokerFlags,
): Promise<void> {
  const body = {
    name,
    url,
    authentication: { type: 'basic', credentials: { username, password } },
    ...(options.spaceScoped ? { relationships: { space: { data: { guid: space.guid } } } } : {}),
  };
  await api.submit('POST', '/v3/service_brokers', body, { wait: true });
  note(
    `${name} is registered${options.spaceScoped ? '' : `: open what it offers with \`sampan enable-service-access\``}.`,
  );
}

export async function brokers({ api }: SpaceContext, options: BrokerFlags): Promise<void> {
  const all = await api.all<Broker>('/v3/service_brokers?order_by=name');
  if (options.json) return printJson(all);
  print(
    table(
      all.map(({ name, url }) => [name, url]),
      ['name', 'url'],
    ),
  );
}

export async function updateBroker(
  { api }: SpaceContext,
  [name, username, password, url]: [string, string, string, string],
): Promise<void> {
  const broker = await requireBroker(api, name);
  const body = { url, authentication: { type: 'basic', credentials: { username, password } } };
  await api.submit('PATCH', `/v3/service_brokers/${broker.guid}`, body, { wait: true });
  note(`The catalog of ${name} is read.`);
}

export async function deleteBroker({ api }: SpaceContext, name: string, options: BrokerFlags): Promise<void> {
  const broker = await byName<Broker>(api, `/v3/service_brokers?names=${encodeURIComponent(name)}`);
  if (!broker) return note(`There is no broker ${name}.`);
  if (!options.force) throw new CliError(`What ${name} offers goes with it.`, 'Say -f if you mean it.');
  await api.submit('DELETE', `/v3/service_brokers/${broker.guid}`, undefined, { wait: true });
  note(`${name} is gone.`);
}

/** Of one plan or all, for one organization or everybody. */
export async function serviceAccess(
  { api }: SpaceContext,
  offering: string,
  { enabled, ...options }: BrokerFlags & { enabled: boolean },
): Promise<void> {
  const filters = [`service_offering_names=${encodeURIComponent(offering)}`];
  if (options.plan !== undefined) filters.push(`names=${encodeURIComponent(options.plan)}`);
  if (options.broker !== undefined) filters.push(`service_broker_names=${encodeURIComponent(options.broker)}`);
  const plans = await api.all<Named>(`/v3/service_plans?${filters.join('&')}`);
  if (plans.length === 0) {
    throw new CliError(`There is no plan of ${JSON.stringify(offering)}.`, 'See `sampan service-brokers`.');
  }
  const organization =
    options.organization === undefined ? undefined : await requireOrganization(api, options.organization);
  for (const { guid } of plans) {
    const path = `/v3/service_plans/${guid}/visibility`;
    if (organization === undefined) await api.patch(path, { type: enabled ? 'public' : 'admin' });
    else if (enabled) await api.post(path, { type: 'organization', organizations: [{ guid: organization.guid }] });
    else await api.delete(`${path}/${organization.guid}`);
  }
  const whom = options.organization ?? 'everybody';
  const names = plans.map(({ name }) => name).join(', ');
  note(`${offering} (${names}) is ${enabled ? 'open to' : 'closed for'} ${whom}.`);
}

async function requireBroker(api: Api, name: string): Promise<Broker> {
  const broker = await byName<Broker>(api, `/v3/service_brokers?names=${encodeURIComponent(name)}`);
  if (broker) return broker;
  throw new CliError(`There is no broker ${JSON.stringify(name)}.`, 'See `sampan service-brokers`.');
}

async function requireOrganization(api: Api, name: string): Promise<Named> {
  const organization = await byName<Named>(api, `/v3/organizations?names=${encodeURIComponent(name)}`);
  if (organization) return organization;
  throw new CliError(`There is no organization ${JSON.stringify(name)}.`, 'See `sampan orgs`.');
}
