/** Names of service instances are unique in a space without regard to case. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Context } from '../cloud-controller/api.ts';
import type { ServiceInstance } from '../resources/service-types.ts';

interface Named {
  guid: string;
  namespace: string;
}

function holderOf({ guid, namespace }: Named) {
  return { resource: 'serviceinstances', namespace, name: guid };
}

/** False where another one has it. */
export function takeInstanceName(
  { reservations }: Pick<Context, 'reservations'>,
  space: string,
  name: string,
  instance: Named,
): Promise<boolean> {
  return reservations.take('servicename', [space, name.toLowerCase()], holderOf(instance));
}

export async function releaseInstanceName(
  { reservations, records }: Pick<Context, 'reservations' | 'records'>,
  instance: Stored<ServiceInstance>,
  name: string,
): Promise<void> {
  const space = records.spaceOf(instance)?.metadata.name ?? '';
  const { name: guid, namespace = '' } = instance.metadata;
  await reservations.release('servicename', [space, name.toLowerCase()], holderOf({ guid, namespace }));
}
