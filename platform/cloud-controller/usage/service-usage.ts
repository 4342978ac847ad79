/** Which service instances there are, by whom. Pure, as `app-usage.ts`. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ServiceUsageEvent } from '../../resources/event-types.ts';
import type { Space } from '../../resources/types.ts';
import type { ServiceInstance } from '../../resources/service-types.ts';
import type { PlanChain } from '../../services/context.ts';

export type ServiceUsage = ServiceUsageEvent['spec'];

/** @param chain  of a broker's. */
export function ofService(
  instance: Stored<ServiceInstance>,
  space: Stored<Space>,
  chain: PlanChain | undefined,
): ServiceUsage {
  const named = (object: PlanChain[keyof PlanChain]) => ({ guid: object.metadata.name, name: object.spec.displayName });
  return {
    state: 'CREATED',
    space: { guid: space.metadata.name, name: space.spec.displayName },
    organization: space.spec.organization,
    instance: {
      guid: instance.metadata.name,
      name: instance.spec.displayName,
      type: instance.spec.managed ? 'managed_service_instance' : 'user_provided_service_instance',
    },
    ...(chain ? { plan: named(chain.plan), offering: named(chain.offering), broker: named(chain.broker) } : {}),
  };
}

export function isKept({ state }: ServiceUsage): boolean {
  return state !== 'DELETED';
}

export function followingService(last: ServiceUsage | undefined, now: ServiceUsage): ServiceUsage | undefined {
  if (last === undefined || !isKept(last)) return now;
  const isSame = last.instance.name === now.instance.name && last.plan?.guid === now.plan?.guid;
  return isSame ? undefined : { ...now, state: 'UPDATED' };
}

export function closingService(last: ServiceUsage | undefined): ServiceUsage | undefined {
  return last && isKept(last) ? { ...last, state: 'DELETED' } : undefined;
}
