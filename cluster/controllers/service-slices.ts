/** Services and the EndpointSlices of each, for the controllers that make the one of the other. */
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { endpointSlices, services as serviceResource } from '../kinds/resources.ts';
import type { Service } from '../kinds/types/core.ts';
import type { EndpointSlice } from '../kinds/types/discovery.ts';
import type { ControllerContext } from './controller.ts';
import { managedByLabel, serviceLabel } from './endpoint-slice-plan.ts';
import { keyOf, openInformer } from './objects.ts';

export interface ServiceSlices {
  services: Informer<Service>;
  slices: Informer<EndpointSlice>;
  /** Those of a Service, by its key, that matter. */
  slicesOf(key: string): Stored<EndpointSlice>[];
  synced: Promise<unknown>;
}

/**
 * @param enqueue  called with a Service's key when it changed, or a slice of it that matters
 * @param matters  of who manages a slice, as its label says
 */
export function followServiceSlices(
  context: ControllerContext,
  enqueue: (key: string) => void,
  matters: (manager: string | undefined) => boolean,
): ServiceSlices {
  const serviceOf = ({ metadata }: Stored<EndpointSlice>): string =>
    `${metadata.namespace}/${metadata.labels?.[serviceLabel] ?? ''}`;
  const concerns = ({ metadata }: Stored<EndpointSlice>): boolean => matters(metadata.labels?.[managedByLabel]);
  const services = openInformer(context, serviceResource);
  const slices = openInformer(context, endpointSlices, { service: (slice) => [serviceOf(slice)] });
  services.onChange((now, old) => enqueue(keyOf((now ?? old)?.metadata ?? {})));
  slices.onChange((now, old) => {
    const slice = now ?? old;
    if (slice?.metadata.labels?.[serviceLabel] && concerns(slice)) enqueue(serviceOf(slice));
  });
  return {
    services,
    slices,
    slicesOf: (key) => slices.byIndex('service', key).filter(concerns),
    synced: Promise.all([services.synced, slices.synced]),
  };
}
