/** Services: instances, bindings and keys, of brokers and of what runs elsewhere. */
import { byName, requireApp, type SpaceContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { readGivenFile } from '../given-file.ts';
import { note, print, printJson, table } from '../output.ts';
import type { App, Named, Page, Resource } from '../resources.ts';

export interface ServiceFlags {
  parameters?: string;
  tags?: string;
  wait?: boolean;
  force?: boolean;
  plan?: string;
  broker?: string;
  bindingName?: string;
  offering?: string;
  json?: boolean;
}

interface LastOperation {
  type: string;
  state: string;
  description: string;
  updated_at: string;
}

interface ServiceInstance extends Named {
  type: 'managed' | 'user-provided';
  tags: string[];
  last_operation: LastOperation;
  dashboard_url?: string | null;
  upgrade_available?: boolean;
  relationships: { service_plan?: { data: { guid: string } } };
}

interface Plan extends Named {
  description: string;
  free: boolean;
  available: boolean;
  maintenance_info: { version?: string };
  relationships: { service_offering: { data: { guid: string } } };
}

interface Offering extends Named {
  description: string;
  relationships: { service_broker: { data: { guid: string } } };
}

interface Binding extends Resource {
  name: string | null;
  last_operation: LastOperation;
  relationships: { app?: { data: { guid: string } }; service_instance: { data: { guid: string } } };
}

const one = (guid: string) => ({ data: { guid } });

export async function services(context: SpaceContext, options: ServiceFlags): Promise<void> {
  const { api, space } = context;
  const [instances, bindings, apps, plans, offerings] = await Promise.all([
    api.all<ServiceInstance>(`/v3/service_instances?space_guids=${space.guid}&order_by=name`),
    api.all<Binding>('/v3/service_credential_bindings?type=app'),
    api.all<App>(`/v3/apps?space_guids=${space.guid}`),
    api.all<Plan>('/v3/service_plans'),
    api.all<Offering>('/v3/service_offerings'),
  ]);
  const views = instances.map((instance) => {
    const plan = plans.find(({ guid }) => guid === instance.relationships.service_plan?.data.guid);
    const offering = offerings.find(({ guid }) => guid === plan?.relationships.service_offering.data.guid);
    return {
      name: instance.name,
      offering: offering?.name ?? instance.type,
      plan: plan?.name ?? '',
      apps: bindings
        .filter(({ relationships }) => relationships.service_instance.data.guid === instance.guid)
        .flatMap(({ relationships }) => apps.filter(({ guid }) => guid === relationships.app?.data.guid))
        .map(({ name }) => name),
      lastOperation: operation(instance),
      upgradeAvailable: instance.upgrade_available ?? false,
    };
  });
  if (options.json) return printJson(views);
  print(
    table(
      views.map((view) => [
        view.name,
        view.offering,
        view.plan,
        view.apps.join(', '),
        view.lastOperation,
        view.upgradeAvailable ? 'yes' : '',
      ]),
      ['name', 'offering', 'plan', 'bound apps', 'last operation', 'upgrade available'],
    ),
  );
}

export async function service(context: SpaceContext, name: string, options: ServiceFlags): Promise<void> {
  const instance = await requireInstance(context, name);
  if (options.json) return printJson(instance);
  const { last_operation: last } = instance;
  const lines: [string, string][] = [
    ['name', instance.name],
    ['guid', instance.guid],
    ['type', instance.type],
    ['tags', instance.tags.join(', ')],
    ...(instance.dashboard_url ? [['dashboard', instance.dashboard_url] as [string, string]] : []),
    ['status', operation(instance)],
    ['message', last.description],
    ['updated', last.updated_at],
    ...(instance.upgrade_available
      ? [['upgrade', `available: \`sampan upgrade-service ${name}\``] as [string, string]]
      : []),
  ];
  print(lines.map(([label, value]) => `${`${label}:`.padEnd(12)}${value}`).join('\n'));
}

export async function marketplace(context: SpaceContext, options: ServiceFlags): Promise<void> {
  const { api, space } = context;
  const names = options.offering === undefined ? '' : `&service_offering_names=${encodeURIComponent(options.offering)}`;
  const [plans, offerings, brokers] = await Promise.all([
    api.all<Plan>(`/v3/service_plans?available=true&space_guids=${space.guid}${names}`),
    api.all<Offering>('/v3/service_offerings?available=true'),
    api.all<Named>('/v3/service_brokers'),
  ]);
  const views = plans.flatMap((plan) => {
    const offering = offerings.find(({ guid }) => guid === plan.relationships.service_offering.data.guid);
    if (!offering) return [];
    const broker = brokers.find(({ guid }) => guid === offering.relationships.service_broker.data.guid);
    const { name, description, free } = plan;
    return [{ offering: offering.name, plan: name, description, free, broker: broker?.name ?? '' }];
  });
  if (options.json) return printJson(views);
  print(
    table(
      views.map((view) => [view.offering, view.plan, view.description, view.free ? 'free' : 'paid', view.broker]),
      ['offering', 'plan', 'description', 'free or paid', 'broker'],
    ),
  );
}

export async function createService(
  context: SpaceContext,
  [offering, planName, name]: [string, string, string],
  options: ServiceFlags,
): Promise<void> {
  const plan = await requirePlan(context, { offering, plan: planName, broker: options.broker });
  const done = await context.api.submit(
    'POST',
    '/v3/service_instances',
    {
      type: 'managed',
      name,
      ...contentOf(options),
      relationships: { space: one(context.space.guid), service_plan: one(plan.guid) },
    },
    options,
  );
  note(done ? `${name} is there.` : `${name} is being made: see \`sampan service ${name}\`.`);
}

export async function updateService(context: SpaceContext, name: string, options: ServiceFlags): Promise<void> {
  const instance = await requireInstance(context, name);
  const body: Record<string, unknown> = contentOf(options);
  if (options.plan !== undefined) {
    const current = await context.api.get<Plan>(
      `/v3/service_plans/${instance.relationships.service_plan?.data.guid ?? ''}`,
    );
    const offering = current.relationships.service_offering.data.guid;
    const found = await byName<Plan>(
      context.api,
      `/v3/service_plans?service_offering_guids=${offering}&names=${encodeURIComponent(options.plan)}`,
    );
    if (!found) throw new CliError(`There is no plan ${JSON.stringify(options.plan)}.`, 'See `sampan marketplace`.');
    body['relationships'] = { service_plan: one(found.guid) };
  }
  if (Object.keys(body).length === 0) throw new CliError('Nothing is to be changed.', 'Give -p, -c or -t.');
  const done = await context.api.submit('PATCH', `/v3/service_instances/${instance.guid}`, body, options);
  note(done ? `${name} is changed.` : `${name} is being changed: see \`sampan service ${name}\`.`);
}

export async function upgradeService(context: SpaceContext, name: string, options: ServiceFlags): Promise<void> {
  const instance = await requireInstance(context, name);
  if (!instance.upgrade_available) return note(`${name} is up to date.`);
  const plan = await context.api.get<Plan>(`/v3/service_plans/${instance.relationships.service_plan?.data.guid ?? ''}`);
  const body = { maintenance_info: { version: plan.maintenance_info.version } };
  const done = await context.api.submit('PATCH', `/v3/service_instances/${instance.guid}`, body, options);
  note(done ? `${name} is upgraded.` : `${name} is being upgraded: see \`sampan service ${name}\`.`);
}

export async function deleteService(context: SpaceContext, name: string, options: ServiceFlags): Promise<void> {
  const instance = await findInstance(context, name);
  if (!instance) return note(`There is no service ${name}.`);
  requireForce(options, `Deleting ${name} deletes what is in it.`);
  const done = await context.api.submit('DELETE', `/v3/service_instances/${instance.guid}`, undefined, options);
  note(done ? `${name} is gone.` : `${name} is being deleted: see \`sampan service ${name}\`.`);
}

export async function bindService(
  context: SpaceContext,
  [appName, name]: [string, string],
  options: ServiceFlags,
): Promise<void> {
  const [app, instance] = await Promise.all([requireApp(context, appName), requireInstance(context, name)]);
  const done = await context.api.submit(
    'POST',
    '/v3/service_credential_bindings',
    {
      type: 'app',
      ...(options.bindingName === undefined ? {} : { name: options.bindingName }),
      ...contentOf(options),
      relationships: { app: one(app.guid), service_instance: one(instance.guid) },
    },
    options,
  );
  const what = done ? 'is bound' : 'is being bound';
  note(`${name} ${what}: ${appName} is told with \`sampan restart ${appName} --strategy rolling\`.`);
}

export async function unbindService(
  context: SpaceContext,
  [appName, name]: [string, string],
  options: ServiceFlags,
): Promise<void> {
  const [app, instance] = await Promise.all([requireApp(context, appName), requireInstance(context, name)]);
  const path = `/v3/service_credential_bindings?app_guids=${app.guid}&service_instance_guids=${instance.guid}`;
  const [binding] = (await context.api.get<Page<Binding>>(path)).resources;
  if (!binding) return note(`${appName} is not bound to ${name}.`);
  const done = await context.api.submit(
    'DELETE',
    `/v3/service_credential_bindings/${binding.guid}`,
    undefined,
    options,
  );
  note(done ? `${appName} is bound to ${name} no more.` : `${name} is being unbound.`);
}

export async function createServiceKey(
  context: SpaceContext,
  [name, key]: [string, string],
  options: ServiceFlags,
): Promise<void> {
  const instance = await requireInstance(context, name);
  const body = {
    type: 'key',
    name: key,
    ...contentOf(options),
    relationships: { service_instance: one(instance.guid) },
  };
  const done = await context.api.submit('POST', '/v3/service_credential_bindings', body, options);
  note(done ? `See it with \`sampan service-key ${name} ${key}\`.` : `The key ${key} is being made.`);
}

export async function serviceKeys(context: SpaceContext, name: string, options: ServiceFlags): Promise<void> {
  const instance = await requireInstance(context, name);
  const keys = await context.api.all<Binding>(
    `/v3/service_credential_bindings?type=key&service_instance_guids=${instance.guid}`,
  );
  if (options.json) return printJson(keys);
  print(
    table(
      keys.map((key) => [key.name ?? '', operation(key), key.last_operation.description]),
      ['name', 'last operation', 'message'],
    ),
  );
}

/** Its credentials, as JSON. */
export async function serviceKey(context: SpaceContext, [name, key]: [string, string]): Promise<void> {
  const binding = await requireKey(context, name, key);
  printJson(await context.api.get(`/v3/service_credential_bindings/${binding.guid}/details`));
}

export async function deleteServiceKey(
  context: SpaceContext,
  [name, key]: [string, string],
  options: ServiceFlags,
): Promise<void> {
  const binding = await requireKey(context, name, key);
  requireForce(options, `Whoever has the key ${key} will be let in no more.`);
  const done = await context.api.submit(
    'DELETE',
    `/v3/service_credential_bindings/${binding.guid}`,
    undefined,
    options,
  );
  note(done ? `The key ${key} is gone.` : `The key ${key} is being deleted.`);
}

function operation({ last_operation: { type, state } }: { last_operation: LastOperation }): string {
  return `${type} ${state}`;
}

function contentOf({ parameters, tags }: ServiceFlags): Record<string, unknown> {
  return {
    ...(parameters === undefined ? {} : { parameters: readParameters(parameters) }),
    ...(tags === undefined ? {} : { tags: tags.split(',').map((tag) => tag.trim()) }),
  };
}

/** JSON, or a file of it. */
function readParameters(text: string): unknown {
  const remedy = `Give -c '{"name": "value"}', or a file.`;
  const content = text.trimStart().startsWith('{') ? text : readGivenFile(text, remedy);
  try {
    const value: unknown = JSON.parse(content);
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value;
  } catch {
    // said below
  }
  throw new CliError(`${JSON.stringify(text.slice(0, 60))} is no JSON object.`, remedy);
}

function requireForce({ force }: ServiceFlags, what: string): void {
  if (!force) throw new CliError(what, 'Say -f if you mean it.');
}

function findInstance({ api, space }: SpaceContext, name: string): Promise<ServiceInstance | undefined> {
  return byName<ServiceInstance>(
    api,
    `/v3/service_instances?names=${encodeURIComponent(name)}&space_guids=${space.guid}`,
  );
}

async function requireInstance(context: SpaceContext, name: string): Promise<ServiceInstance> {
  const instance = await findInstance(context, name);
  if (instance) return instance;
  throw new CliError(
    `There is no service ${JSON.stringify(name)} in the space ${context.space.name}.`,
    'See `sampan services`.',
  );
}

async function requireKey(context: SpaceContext, name: string, key: string): Promise<Binding> {
  const instance = await requireInstance(context, name);
  const path = `/v3/service_credential_bindings?type=key&service_instance_guids=${instance.guid}`;
  const [binding] = (await context.api.get<Page<Binding>>(`${path}&names=${encodeURIComponent(key)}`)).resources;
  if (binding) return binding;
  throw new CliError(`${name} has no key ${JSON.stringify(key)}.`, `See \`sampan service-keys ${name}\`.`);
}

async function requirePlan(
  { api }: SpaceContext,
  { offering, plan, broker }: { offering: string; plan: string; broker: string | undefined },
): Promise<Plan> {
  const names = [`service_offering_names=${encodeURIComponent(offering)}`, `names=${encodeURIComponent(plan)}`];
  if (broker !== undefined) names.push(`service_broker_names=${encodeURIComponent(broker)}`);
  const found = await api.all<Plan>(`/v3/service_plans?${names.join('&')}`);
  const [first] = found;
  if (!first) {
    throw new CliError(
      `There is no plan ${JSON.stringify(plan)} of ${JSON.stringify(offering)} that you may use.`,
      'See `sampan marketplace`.',
    );
  }
  if (found.length > 1) {
    throw new CliError(`Several brokers have the plan ${plan} of ${offering}.`, 'Say which with -b BROKER.');
  }
  return first;
}
