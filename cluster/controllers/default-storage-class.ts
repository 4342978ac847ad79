/**
 * The StorageClass `local`, the default one: made once for a cluster. An administrator may change or delete it, and finds it so: that
 * it was made is noted at the namespace `kube-system`.
 */
import { ApiError } from '../client/client.ts';
import { localProvisioner } from '../kinds/local-volume.ts';
import { namespaces, storageClasses } from '../kinds/resources.ts';
import type { Controller } from './controller.ts';

const name = 'local';
const home = 'kube-system';
const made = 'storage.sampan.dev/default-class-made';

export function createDefaultStorageClass(): Controller {
  return {
    name: 'default-storage-class',
    async start(_context, enqueue) {
      enqueue(name);
    },
    async reconcile(_key, { client }) {
      const { metadata } = await client.get(namespaces, home);
      if (metadata.annotations?.[made] !== undefined) return;
      try {
        await client.create(storageClasses, {
          metadata: { name, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
          provisioner: localProvisioner,
          reclaimPolicy: 'Delete',
          volumeBindingMode: 'WaitForFirstConsumer',
          allowVolumeExpansion: true,
        });
      } catch (error) {
        if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
      }
      const body = { metadata: { annotations: { [made]: 'true' } } };
      await client.patch(namespaces, home, { type: 'merge', body });
    },
  };
}
