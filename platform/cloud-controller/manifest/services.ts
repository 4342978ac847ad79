/** `services` of a manifest: which service instances of the space the app is bound to. Nothing is unbound that it does not name. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, Space } from '../../resources/types.ts';
import type { ServiceInstance } from '../../resources/service-types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context, Json } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { whenEnded } from '../operations/requests.ts';
import { bindService } from '../operations/service-bindings.ts';
import { isObject, nameProblem } from '../validate.ts';

export interface ServicePlan {
  name: string;
  bindingName?: string;
  parameters?: Json;
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
    if (parameters !== undefined && parameters !== null && !isObject(parameters))
      fail(`Service "${name}": parameters must be a mapping`);
    return [
      {
        name,
        ...(typeof bindingName === 'string' ? { bindingName } : {}),
        ...(isObject(parameters) && Object.keys(parameters).length > 0 ? { parameters } : {}),
      },
    ];
  });
}

function findService(context: Context, space: Stored<Space>, name: string): Stored<ServiceInstance> | undefined {
  const named = ({ spec }: Stored<ServiceInstance>) => spec.displayName.toLowerCase() === name.toLowerCase();
  const { serviceInstances } = context.records;
  return (
    serviceInstances.inNamespace(space.spec.namespace).find(named) ??
    serviceInstances.all().find((one) => named(one) && one.spec.sharedWith?.includes(space.metadata.name))
  );
}

export function serviceProblems(context: Context, space: Stored<Space>, plans: ServicePlan[]): string[] {
  return plans.flatMap(({ name, parameters }) => {
    const instance = findService(context, space, name);
    if (!instance) return [`Service instance '${name}' not found`];
    if (instance.spec.managed || !parameters) return [];
    return [`Service '${name}': binding parameters are not supported for user-provided service instances`];
  });
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
  for (const { name, bindingName, parameters } of plans) {
    const instance = findService(context, space, name);
    if (!instance || bindingsOf(context, app).some(({ spec }) => spec.instance === instance.metadata.name)) continue;
    const binding = await bindService(
      context,
      identity,
      { app, instance },
      { displayName: bindingName, parameters, userMetadata: { labels: {}, annotations: {} } },
    );
    // The app is to be told of it when it is started, right after.
    const { request } = binding.spec;
    const { signal } = context.jobs;
    const failure =
      request &&
      (await whenEnded(context.records.serviceBindings, binding.metadata.name, { request: request.id, signal }));
    if (failure !== undefined) throw unprocessable(`For service '${name}': ${failure}`);
  }
}

/** As a manifest names them. */
export function servicesManifest(context: Context, app: Stored<App>): unknown[] {
  const newest = new Map(bindingsOf(context, app).map(({ spec }) => [spec.instance, spec]));
  return [...newest.values()].flatMap((spec) => {
    const name = context.records.serviceInstances.get(spec.instance)?.spec.displayName;
    if (name === undefined) return [];
    return [spec.displayName === undefined ? name : { name, binding_name: spec.displayName }];
  });
}
