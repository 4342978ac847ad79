/** Usage events in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AppUsageEvent, ServiceUsageEvent } from '../../resources/event-types.ts';
import type { Json, Urls } from '../api.ts';
import { base, link } from './base.ts';

const NOTHING = { guid: null, name: null };

export function presentAppUsageEvent(urls: Urls, event: Stored<AppUsageEvent>): Json {
  const { spec } = event;
  return {
    ...base(event),
    state: { current: spec.state, previous: spec.previousState },
    app: spec.app,
    process: spec.process ?? { guid: null, type: null },
    space: spec.space,
    organization: { guid: spec.organization },
    buildpack: { guid: null, name: spec.buildpack ?? null },
    task: spec.task ?? NOTHING,
    memory_in_mb_per_instance: { current: spec.memoryMb, previous: spec.previousMemoryMb },
    instance_count: { current: spec.instances, previous: spec.previousInstances },
    links: { self: link(`${urls.api}/v3/app_usage_events/${event.metadata.name}`) },
  };
}

export function presentServiceUsageEvent(urls: Urls, event: Stored<ServiceUsageEvent>): Json {
  const { spec } = event;
  return {
    ...base(event),
    state: spec.state,
    space: spec.space,
    organization: { guid: spec.organization },
    service_instance: spec.instance,
    service_plan: spec.plan ?? NOTHING,
    service_offering: spec.offering ?? NOTHING,
    service_broker: spec.broker ?? NOTHING,
    links: { self: link(`${urls.api}/v3/service_usage_events/${event.metadata.name}`) },
  };
}
