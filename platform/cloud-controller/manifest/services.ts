/** `services` of a manifest: which service instances of the space the app is bound to. Nothing is unbound that it does not name. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, ServiceInstance, Space } from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { record } from '../operations/app-lifecycle.ts';
import { bindService } from '../operations/service-instances.ts';
import { isObject, nameProblem } from '../validate.ts';

export interface ServicePlan {
  name: string;
  bindingName?: string;
}

/** Names, or mappings with a name. */
export function readServices(value: unknown, fail: (message: string) => void): ServicePlan[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    fail('Services must be a list of names of service instances');
    return [];
  }
  return (value as unknown[]).flatMap((entry): ServicePlan[] => {
    const { name, binding_name: bindingName, parameters } = isObject(entry) ? entry : { name: entry };
    const problem =
      nameProblem(name, 'Service name') ?? (bindingName === undefined ? undefined : nameProblem(bindingName));
    if (problem !== undefined || typeof name !== 'string') {
      fail(problem ?? 'Service name must be a string');
      return [];
    }
    if (isObject(parameters) && Object.keys(parameters).length > 0)
      fail(`Service "${name}": parameters are for services of brokers, which there are none of`);
    return [{ name, ...(typeof bindingName === 'string' ? { bindingName } : {}) }];
  });
}

function findService(context: Context, space: Stored<Space>, name: string): Stored<ServiceInstance> | undefined {
  return context.records.serviceInstances
    .inNamespace(space.spec.namespace)
    .find(({ spec }) => spec.displayName.toLowerCase() === name.toLowerCase());
}

export function serviceProblems(context: Context, space: Stored<Space>, plans: ServicePlan[]): string[] {
  return plans
    .filter(({ name }) => findService(context, space, name) === undefined)
    .map(({ name }) => `Service instance '${name}' not found`);
}

function bindingsOf(context: Context, app: Stored<App>) {
  return context.records.serviceBindings.ofApp(app.metadata.name);
}

export async function applyServices(
  context: Context,
  { identity, space }: { identity: Identity; space: Stored<Space> },
  app: Stored<App>,
  plans: ServicePlan[],
): Promise<void> {
  for (const { name, bindingName } of plans) {
    const instance = findService(context, space, name);
    if (!instance || bindingsOf(context, app).some(({ spec }) => spec.instance === instance.metadata.name)) continue;
    const binding = await bindService(context, app, instance, {
      ...(bindingName === undefined ? {} : { displayName: bindingName }),
      userMetadata: { labels: {}, annotations: {} },
    });
    await record(context, identity, app, 'audit.service_binding.create', {
      service_binding_guid: binding.metadata.name,
      service_instance_guid: instance.metadata.name,
    });
  }
}

/** As a manifest names them. */
export function servicesManifest(context: Context, app: Stored<App>): unknown[] {
  return bindingsOf(context, app).flatMap(({ spec }) => {
    const name = context.records.serviceInstances.get(spec.instance)?.spec.displayName;
    if (name === undefined) return [];
    return [spec.displayName === undefined ? name : { name, binding_name: spec.displayName }];
  });
}
