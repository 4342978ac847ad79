/** How much of everything is used, in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Space } from '../../resources/types.ts';
import type { Context, Json } from '../api.ts';
import { keysOf, managedInstances, usageOf } from '../operations/quota.ts';

/** @param domains  that belong to who is asked about; spaces have none */
export function usageSummary(context: Context, spaces: Stored<Space>[], domains?: number): Json {
  const { instances, memoryMb } = usageOf(context, spaces);
  const routes = spaces.reduce((sum, { spec }) => sum + context.records.routes.inNamespace(spec.namespace).length, 0);
  const tasks = spaces
    .flatMap(({ spec }) => context.records.tasks.inNamespace(spec.namespace))
    .filter(({ status }) => status?.state === 'RUNNING').length;
  return {
    started_instances: instances,
    memory_in_mb: memoryMb,
    routes,
    // Of brokers, as in Cloud Foundry: what users provide counts for nothing.
    service_instances: managedInstances(context, spaces).length,
    reserved_ports: 0,
    ...(domains === undefined ? {} : { domains }),
    per_app_tasks: tasks,
    service_keys: keysOf(context, spaces).length,
  };
}
