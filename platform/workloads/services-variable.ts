/**
 * `VCAP_SERVICES` of a pod. What a start wrote down counts, not what is bound while the pod is made: that may be much later (a process
 * that had no instances), and a Secret that nobody wrote would be waited for for ever. Once written it stays as long as its revision or task.
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { EnvVar } from '#cluster/kinds/types/core.ts';
import { secrets } from '../resources/kubernetes.ts';
import type { Revision, Task } from '../resources/types.ts';
import type { WorkloadContext } from './workloads.ts';

const NAME = 'VCAP_SERVICES';

export async function hasKeptServices(
  { informers }: Pick<WorkloadContext, 'informers'>,
  { metadata: { name, namespace = '' } }: Stored<Revision> | Stored<Task>,
): Promise<boolean> {
  return (await orUndefined(informers.client.get(secrets, secretName(name), namespace))) !== undefined;
}

/** @param guid  of the revision or task */
export function servicesVariable(kept: boolean, guid: string): EnvVar {
  if (!kept) return { name: NAME, value: '{}' };
  return { name: NAME, valueFrom: { secretKeyRef: { name: secretName(guid), key: NAME } } };
}

function secretName(guid: string): string {
  return `env-services-${guid}`;
}
