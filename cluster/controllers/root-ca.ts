/** Every namespace has the ConfigMap `kube-root-ca.crt`: pods check the API server's certificate by it. */
import { ApiError, type Informer } from '../client/client.ts';
import { configMaps, namespaces as namespaceResource } from '../kinds/resources.ts';
import type { ConfigMap, Namespace } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { openInformer, sameJson } from './objects.ts';

const NAME = 'kube-root-ca.crt';

/** @param ca  PEM */
export function createRootCaPublisher(ca: string): Controller {
  let namespaces: Informer<Namespace>;
  let maps: Informer<ConfigMap>;
  return {
    name: 'root-ca-publisher',
    async start(context, enqueue) {
      namespaces = openInformer(context, namespaceResource);
      maps = openInformer(context, configMaps);
      namespaces.onChange((now) => {
        if (now) enqueue(now.metadata.name);
      });
      maps.onChange((now, old) => {
        const { name, namespace } = (now ?? old)?.metadata ?? {};
        if (name === NAME && namespace !== undefined) enqueue(namespace);
      });
      await Promise.all([namespaces.synced, maps.synced]);
      for (const { metadata } of namespaces.list()) enqueue(metadata.name);
    },
    keys: () => namespaces.list().map(({ metadata }) => metadata.name),
    async reconcile(namespace, { client }) {
      const found = namespaces.get(namespace);
      if (!found || found.metadata.deletionTimestamp !== undefined) return;
      const data = { 'ca.crt': ca };
      const map = maps.get(NAME, namespace);
      if (map === undefined) {
        const annotations = {
          'kubernetes.io/description': 'The authority by which pods check the certificate of the API server.',
        };
        await client
          .create(configMaps, { metadata: { name: NAME, namespace, annotations }, data })
          .catch((error: unknown) => {
            if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
          });
      } else if (!sameJson(map.data, data)) await client.update(configMaps, { ...map, data });
    },
  };
}
