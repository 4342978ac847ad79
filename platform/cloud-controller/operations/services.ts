/** Services that run elsewhere, and what apps are told of them: `VCAP_SERVICES`. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { type App, labels, type ServiceBinding, type ServiceInstance } from '../../resources/types.ts';
import type { Context, Json } from '../api.ts';
import { environmentName, readEnvironment, writeEnvironment } from './environment.ts';

const KEY = 'credentials';

export async function readCredentials(context: Context, instance: Stored<ServiceInstance>): Promise<Json> {
  const { name, namespace = '' } = instance.metadata;
  const secret = await readEnvironment(context.client, namespace, `service-${name}`);
  return JSON.parse(secret[KEY] ?? '{}') as Json;
}

/** Goes with the instance. */
export async function writeCredentials(
  context: Context,
  instance: Stored<ServiceInstance>,
  credentials: Json,
): Promise<void> {
  const { name, uid, namespace = '' } = instance.metadata;
  const object = {
    metadata: {
      name: environmentName(`service-${name}`),
      namespace,
      labels: { [labels.service]: name },
      ownerReferences: [{ apiVersion: 'platform.sampan.dev/v1', kind: 'ServiceInstance', name, uid }],
    },
    type: 'Opaque',
    data: { [KEY]: Buffer.from(JSON.stringify(credentials)).toString('base64') },
  };
  try {
    await context.client.create(secrets, object);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await context.client.update(secrets, object);
  }
}

export function bindingsOf(context: Context, app: string): Stored<ServiceBinding>[] {
  return context.records.serviceBindings
    .ofApp(app)
    .filter((binding) => !binding.metadata.deletionTimestamp)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** As Cloud Foundry puts it into `VCAP_SERVICES`. */
export async function vcapServices(context: Context, app: Stored<App>): Promise<Json> {
  const found = await Promise.all(
    bindingsOf(context, app.metadata.name).map(async (binding) => {
      const instance = context.records.serviceInstances.get(binding.spec.instance);
      if (!instance) return [];
      return [
        {
          label: 'user-provided',
          name: binding.spec.displayName ?? instance.spec.displayName,
          tags: instance.spec.tags,
          instance_guid: instance.metadata.name,
          instance_name: instance.spec.displayName,
          binding_guid: binding.metadata.name,
          binding_name: binding.spec.displayName ?? null,
          credentials: await readCredentials(context, instance),
          syslog_drain_url: instance.spec.syslogDrainUrl ?? '',
          volume_mounts: [],
        },
      ];
    }),
  );
  const services = found.flat();
  return services.length === 0 ? {} : { 'user-provided': services };
}

/** What the services are now is what the revision or task has, until it is started again. */
export async function keepServices(context: Context, app: Stored<App>, guid: string): Promise<void> {
  if (bindingsOf(context, app.metadata.name).length === 0) return;
  const services = JSON.stringify(await vcapServices(context, app));
  await writeEnvironment(context, app, `services-${guid}`, { VCAP_SERVICES: services });
}
