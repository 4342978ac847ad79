/** Which service instances there are, by whom. Pure, as `app-usage.ts`. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceInstance, ServiceUsageEvent, Space } from '../../resources/types.ts';

export type ServiceUsage = ServiceUsageEvent['spec'];

export function ofService(instance: Stored<ServiceInstance>, space: Stored<Space>): ServiceUsage {
  return {
    state: 'CREATED',
    space: { guid: space.metadata.name, name: space.spec.displayName },
    organization: space.spec.organization,
    instance: {
      guid: instance.metadata.name,
      name: instance.spec.displayName,
      type: 'user_provided_service_instance',
    },
  };
}

export function isKept({ state }: ServiceUsage): boolean {
  return state !== 'DELETED';
}

export function followingService(last: ServiceUsage | undefined, now: ServiceUsage): ServiceUsage | undefined {
  if (last === undefined || !isKept(last)) return now;
  return last.instance.name === now.instance.name ? undefined : { ...now, state: 'UPDATED' };
}

export function closingService(last: ServiceUsage | undefined): ServiceUsage | undefined {
  return last && isKept(last) ? { ...last, state: 'DELETED' } : undefined;
}
