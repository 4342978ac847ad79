/** What the cluster says of Ingresses, for the route controller, which asks for it whole at every change. */
import type { Client, ClientObject, Informer } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import { endpointSlices, ingressClasses, ingresses, secrets, services } from '#cluster/kinds/resources.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import type { IngressLoadBalancerIngress } from '#cluster/kinds/types/networking.ts';
import { routesOfIngresses } from './claims.ts';
import type { IngressRoutes } from './ingress.ts';
import { createReport } from './report.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';

export interface IngressSide {
  /** Resolves when every copy is complete. */
  readonly synced: Promise<unknown>;
  /** Its claims are settled by the caller, who then says `served`. */
  routes(): IngressRoutes;
  served(routes: IngressRoutes): void;
  close(): Promise<void>;
}

export interface IngressOptions {
  client: Client;
  systemHosts: ReadonlySet<string>;
  /** Where the router is reached. */
  address: IngressLoadBalancerIngress;
  /** Called for each change that may matter. */
  onChange: () => void;
  onError: (error: unknown) => void;
}

/** Only what is offered to clients is kept of a Secret. */
function certificateAlone(secret: Stored<Secret>): Stored<Secret> {
  const { data = {} } = secret;
  const kept = Object.fromEntries(Object.entries(data).filter(([key]) => key === 'tls.crt' || key === 'tls.key'));
  return { metadata: secret.metadata, type: secret.type, data: kept } as Stored<Secret>;
}

export function openIngress({ client, systemHosts, address, onChange, onError }: IngressOptions): IngressSide {
  const watch = <T extends ClientObject>(
    resource: TypedResource<T>,
    options: Parameters<typeof createInformer<T>>[2] = {},
  ): Informer<T> => createInformer(client, resource, { ...options, onError });
  const serviceOf = ({ metadata }: ClientObject): string =>
    `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME] ?? ''}`;
  const watched = {
    ingresses: watch(ingresses),
    classes: watch(ingressClasses),
    services: watch(services),
    slices: watch(endpointSlices, { indexes: { service: (slice) => [serviceOf(slice)] } }),
    secrets: watch(secrets, { fieldSelector: 'type=kubernetes.io/tls', transform: certificateAlone }),
  };
  const report = createReport({ client, informer: watched.ingresses, address, onError });
  let named = new Set<string>();
  /** Services of others, of which there may be many, cost nothing here. */
  const whenNamed = (keyOf: (object: ClientObject) => string) => (now?: ClientObject, old?: ClientObject) => {
    const object = now ?? old;
    if (object !== undefined && named.has(keyOf(object))) onChange();
  };
  watched.ingresses.onChange(onChange);
  watched.classes.onChange(onChange);
  watched.secrets.onChange(() => {
    if (named.size > 0) onChange();
  });
  watched.services.onChange(whenNamed(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  watched.slices.onChange(whenNamed(serviceOf));

  return {
    synced: Promise.all(Object.values(watched).map(({ synced }) => synced)),
    routes() {
      const routes = routesOfIngresses({
        ingresses: watched.ingresses.list(),
        classes: watched.classes.list(),
        service: (namespace, name) => watched.services.get(name, namespace),
        slices: (namespace, service) => watched.slices.byIndex('service', `${namespace}/${service}`),
        certificate: (namespace, name) => watched.secrets.get(name, namespace),
        systemHosts,
      });
      named = routes.services;
      return routes;
    },
    served: report.served,
    async close() {
      for (const informer of Object.values(watched)) informer.close();
      await report.close();
    },
  };
}
