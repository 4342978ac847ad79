/** Says on each Node which volumes of CSI drivers are attached to it (`status.volumesAttached`), as their VolumeAttachments have it. */
import type { Informer } from '../client/client.ts';
import { orUndefined } from '../client/api-errors.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes as nodeResource, persistentVolumes, volumeAttachments } from '../kinds/resources.ts';
import type { Node, PersistentVolume } from '../kinds/types/core.ts';
import type { VolumeAttachment } from '../kinds/types/storage.ts';
import { csiVolumeName } from '../kinds/volume-attachment-name.ts';
import type { Controller } from './controller.ts';
import { openInformer } from './objects.ts';

const nodeIndex = { node: ({ spec }: Stored<VolumeAttachment>): string[] => [spec.nodeName] };

export function createVolumesAttached(): Controller {
  let nodes: Informer<Node>;
  let volumes: Informer<PersistentVolume>;
  let attachments: Informer<VolumeAttachment>;

  /** Who is being detached is not attached any more, as nobody may rely on it. */
  function attachedTo(node: string): string[] {
    const names = attachments.byIndex('node', node).flatMap(({ metadata, spec, status }) => {
      const csi = volumes.get(spec.source.persistentVolumeName ?? '')?.spec?.csi;
      const isAttached = status?.attached === true && metadata.deletionTimestamp === undefined;
      return csi === undefined || !isAttached ? [] : [csiVolumeName(csi.driver, csi.volumeHandle)];
    });
    return [...new Set(names)].sort();
  }

  return {
    name: 'volumes-attached',
    async start(context, enqueue) {
      nodes = openInformer(context, nodeResource);
      volumes = openInformer(context, persistentVolumes);
      attachments = openInformer(context, volumeAttachments, nodeIndex);
      attachments.onChange((now, old) => enqueue((now ?? old)?.spec.nodeName ?? ''));
      nodes.onChange((now) => {
        if (now !== undefined) enqueue(now.metadata.name);
      });
      await Promise.all([nodes, volumes, attachments].map(({ synced }) => synced));
      for (const { metadata } of nodes.list()) enqueue(metadata.name);
    },
    keys: () => nodes.list().map(({ metadata }) => metadata.name),
    async reconcile(name, { client }) {
      const node = nodes.get(name);
      if (node === undefined) return;
      const wanted = attachedTo(name);
      const known = (node.status?.volumesAttached ?? []).map((one) => one.name);
      if (known.join() === wanted.join()) return;
      const entries = wanted.map((one) => ({ name: one, devicePath: '' }));
      const body = { status: { volumesAttached: entries.length === 0 ? null : entries } };
      await orUndefined(client.patch(nodeResource, name, { type: 'merge', body }, { subresource: 'status' }), 404);
    },
  };
}
