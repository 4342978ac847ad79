/** Forgets service instances without asking their broker. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceInstance } from '../../resources/service-types.ts';
import { releaseInstanceName } from '../../services/names.ts';
import { removeParameters } from '../../services/secrets.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';

/** With its bindings and keys. */
export async function forgetInstance(context: Context, instance: Stored<ServiceInstance>): Promise<void> {
  const { name } = instance.metadata;
  const { serviceBindings, serviceInstances } = context.records;
  for (const binding of serviceBindings.all()) {
    if (binding.spec.instance !== name) continue;
    await serviceBindings.delete(binding.metadata.name);
    if (binding.spec.request) await removeParameters(context.client, binding.spec.request);
  }
  await serviceInstances.delete(name);
  const { displayName, request } = instance.spec;
  await releaseInstanceName(context, instance, displayName);
  if (request) await removeParameters(context.client, request);
}

export async function purgeInstance(
  context: Context,
  identity: Identity,
  instance: Stored<ServiceInstance>,
): Promise<void> {
  const space = context.records.spaceOf(instance);
  await forgetInstance(context, instance);
  const kind = instance.spec.managed ? 'service_instance' : 'user_provided_service_instance';
  await context.audit.record({
    type: `audit.${kind}.purge`,
    actor: identity,
    target: { guid: instance.metadata.name, type: kind, name: instance.spec.displayName },
    ...(space ? { space } : {}),
  });
}
