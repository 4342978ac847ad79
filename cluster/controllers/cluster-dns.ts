/**
 * The Service kube-system/kube-dns, whose address every pod asks for names. It has no endpoints: each node leads the address to its own
 * server (`cluster/network/dns`), so no other node's death takes names away.
 */
import type { Informer } from '../client/client.ts';
import { services as serviceResource } from '../kinds/resources.ts';
import type { Service } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { openInformer } from './objects.ts';

const NAME = 'kube-dns';
const NAMESPACE = 'kube-system';

/** Made again where it was deleted; what is there is left as it is. */
export function createClusterDns(clusterIP: string): Controller {
  let services: Informer<Service>;
  return {
    name: 'cluster-dns',
    async start(context, enqueue) {
      services = openInformer(context, serviceResource);
      services.onChange((now, old) => {
        const { name, namespace } = (now ?? old)?.metadata ?? {};
        if (name === NAME && namespace === NAMESPACE) enqueue(NAME);
      });
      await services.synced;
      enqueue(NAME);
    },
    keys: () => [NAME],
    async reconcile(_key, { client }) {
      if (services.get(NAME, NAMESPACE) !== undefined) return;
      await client.create(serviceResource, {
        metadata: {
          name: NAME,
          namespace: NAMESPACE,
          labels: {
            'k8s-app': 'kube-dns',
            'kubernetes.io/cluster-service': 'true',
            'kubernetes.io/name': 'CoreDNS',
            // The rules of Services leave it alone.
            'service.kubernetes.io/service-proxy-name': 'sampan-dns',
          },
        },
        spec: {
          clusterIP,
          ports: [
            { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
            { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
          ],
        },
      });
    },
  };
}
