/** Every namespace has the ServiceAccount `default`. */
import { ApiError, type Informer } from '../client/client.ts';
import { namespaces as namespaceResource, serviceAccounts } from '../kinds/resources.ts';
import type { Namespace, ServiceAccount } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { openInformer } from './objects.ts';

export function createServiceAccountController(): Controller {
  let namespaces: Informer<Namespace>;
  let accounts: Informer<ServiceAccount>;
  return {
    name: 'serviceaccount',
    async start(context, enqueue) {
      namespaces = openInformer(context, namespaceResource);
      accounts = openInformer(context, serviceAccounts);
      namespaces.onChange((now) => {
        if (now) enqueue(now.metadata.name);
      });
      accounts.onChange((now, old) => {
        if (!now && old?.metadata.name === 'default') enqueue(old.metadata.namespace ?? '');
      });
      await Promise.all([namespaces.synced, accounts.synced]);
      for (const { metadata } of namespaces.list()) enqueue(metadata.name);
    },
    keys: () => namespaces.list().map(({ metadata }) => metadata.name),
    async reconcile(name, { client }) {
      const namespace = namespaces.get(name);
      if (!namespace || namespace.metadata.deletionTimestamp !== undefined || accounts.get('default', name)) return;
      try {
        await client.create(serviceAccounts, { metadata: { name: 'default', namespace: name } });
      } catch (error) {
        // There already, or the namespace goes.
        const settled =
          error instanceof ApiError && (error.reason === 'AlreadyExists' || error.code === 403 || error.code === 404);
        if (!settled) throw error;
      }
    },
  };
}
