/** What apps are told of services: `VCAP_SERVICES`. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { KEPT_SERVICES } from '../../resources/kept-services.ts';
import type { App } from '../../resources/types.ts';
import type { ServiceBinding, ServiceInstance } from '../../resources/service-types.ts';
import { chainOf, planGuid } from '../../services/context.ts';
import { readCredentials } from '../../services/credentials.ts';
import { isBound } from '../../services/operations.ts';
import type { Context, Json } from '../api.ts';
import { createdAt } from '../records.ts';
import { readEnvironment, sameEnvironment, writeEnvironment } from './environment.ts';
import { serviceFiles } from './service-files.ts';

/** Those that are whole, the newest of each instance: what a broker is still at, or takes back, is told to nobody. */
function bindingsOf({ records }: Pick<Context, 'records'>, app: string): Stored<ServiceBinding>[] {
  const whole = records.serviceBindings
    .ofApp(app)
    .filter((binding) => !binding.metadata.deletionTimestamp && isBound(binding))
    .sort((a, b) => (createdAt(a) < createdAt(b) ? -1 : 1));
  const newest = new Map(whole.map((binding) => [binding.spec.instance, binding]));
  return [...newest.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** Of a binding to a broker's service, its own; else the instance's. */
export async function bindingDetails(context: Context, binding: Stored<ServiceBinding>): Promise<Json> {
  const instance = context.records.serviceInstances.get(binding.spec.instance);
  const from = binding.spec.request ? binding : instance;
  return {
    credentials: from ? await readCredentials(context.client, from) : {},
    syslog_drain_url: (binding.spec.request ? binding.status?.syslogDrainUrl : instance?.spec.syslogDrainUrl) ?? null,
    volume_mounts: [],
  };
}

/** As Cloud Foundry puts it into `VCAP_SERVICES`. */
export async function vcapServices(context: Context, app: Stored<App>): Promise<Json> {
  const services: Record<string, Json[]> = {};
  for (const binding of bindingsOf(context, app.metadata.name)) {
    const instance = context.records.serviceInstances.get(binding.spec.instance);
    if (!instance) continue;
    const facts = labelled(context, instance);
    const details = await bindingDetails(context, binding);
    (services[facts.label] ??= []).push({
      ...facts,
      name: binding.spec.displayName ?? instance.spec.displayName,
      instance_guid: instance.metadata.name,
      instance_name: instance.spec.displayName,
      binding_guid: binding.metadata.name,
      binding_name: binding.spec.displayName ?? null,
      credentials: details.credentials,
      syslog_drain_url: details.syslog_drain_url ?? (instance.spec.managed ? null : ''),
      volume_mounts: [],
    });
  }
  return services;
}

function labelled(
  context: Context,
  instance: Stored<ServiceInstance>,
): { label: string; tags: string[]; provider?: null; plan?: string } {
  const { tags, managed } = instance.spec;
  const chain = managed && chainOf(context, planGuid(instance));
  if (!chain) return { label: 'user-provided', tags };
  return {
    label: chain.offering.spec.displayName,
    provider: null,
    plan: chain.plan.spec.displayName,
    tags: [...new Set([...chain.offering.spec.tags, ...tags])],
  };
}

/** What the services are now is what the revision or task has, until it is started again. Where there never were any nothing is written. */
export async function keepServices(context: Context, app: Stored<App>, guid: string): Promise<void> {
  const name = `services-${guid}`;
  const [services, kept] = await Promise.all([
    vcapServices(context, app),
    readEnvironment(context.client, app.metadata.namespace ?? '', name),
  ]);
  const now = { [KEPT_SERVICES.variable]: JSON.stringify(services), ...filesOf(app, services) };
  const isNothing = sameEnvironment(now, { [KEPT_SERVICES.variable]: '{}' });
  if (isNothing && Object.keys(kept).length === 0) return;
  if (!sameEnvironment(now, kept)) await writeEnvironment(context, app, name, now);
}

/** Of an app that is told by files. */
function filesOf({ spec }: App, services: Json): Record<string, string> {
  if (spec.serviceFiles === undefined) return {};
  if (spec.serviceFiles === 'vcap') return { [KEPT_SERVICES.form]: 'file' };
  const files = [...serviceFiles(services)];
  return {
    [KEPT_SERVICES.form]: 'files',
    [KEPT_SERVICES.paths]: JSON.stringify(files.map(([path]) => path)),
    ...Object.fromEntries(files.map(([, text], index) => [KEPT_SERVICES.file(index), text])),
  };
}
