/**
 * Binds claims and PersistentVolumes to each other (Kubernetes "Persistent Volumes"). Keys are `claim/namespace/name` and
 * `volume/name`. A claim of a class that waits for its first consumer is bound when the scheduler has chosen a node.
 */
import { createEventRecorder } from '../client/event-recorder.ts';
import { persistentVolumeClaims, persistentVolumes, storageClasses } from '../kinds/resources.ts';
import { isDefaultClass } from '../kinds/storage-class.ts';
import { bindCompleted, classOf } from '../kinds/volume-match.ts';
import type { Controller } from './controller.ts';
import { keyOf, openInformer, splitKey } from './objects.ts';
import { syncClaim } from './volume-claims.ts';
import { syncVolume } from './volume-phases.ts';
import type { VolumeRoom } from './volume-writes.ts';

export function createVolumeBinder(): Controller {
  let room: VolumeRoom;
  const claimKeys = () => room.claims.list().map(({ metadata }) => `claim/${keyOf(metadata)}`);
  return {
    name: 'persistentvolume-binder',
    // One decision at a time: what one claim is promised the next does not find.
    workers: 1,
    async start(context, enqueue) {
      const onError = (error: unknown): void => context.log('warn', `volume binder: ${String(error)}`);
      room = {
        context,
        volumes: openInformer(context, persistentVolumes),
        claims: openInformer(context, persistentVolumeClaims),
        classes: openInformer(context, storageClasses),
        recorder: createEventRecorder({ client: context.client, component: 'persistentvolume-controller', onError }),
      };
      const { volumes, claims, classes } = room;
      const enqueueUnbound = (storageClass: string): void => {
        for (const claim of claims.list())
          if (claim.metadata.annotations?.[bindCompleted] === undefined && classOf(claim) === storageClass)
            enqueue(`claim/${keyOf(claim.metadata)}`);
      };
      claims.onChange((now, old) => {
        const metadata = now?.metadata ?? old?.metadata;
        if (now && metadata) enqueue(`claim/${keyOf(metadata)}`);
        for (const name of new Set([now?.spec?.volumeName, old?.spec?.volumeName])) if (name) enqueue(`volume/${name}`);
        // Reserved for it, though it does not know yet.
        if (!now && old)
          for (const volume of volumes.list())
            if (volume.spec?.claimRef?.uid === old.metadata.uid) enqueue(`volume/${volume.metadata.name}`);
      });
      volumes.onChange((now, old) => {
        const volume = now ?? old;
        if (now) enqueue(`volume/${now.metadata.name}`);
        const reference = volume?.spec?.claimRef;
        if (reference?.name) enqueue(`claim/${reference.namespace ?? ''}/${reference.name}`);
        else if (now) enqueueUnbound(classOf(now));
      });
      classes.onChange((now) => {
        if (now) enqueueUnbound(now.metadata.name);
        if (now && isDefaultClass(now)) enqueueUnbound('');
      });
      await Promise.all([volumes.synced, claims.synced, classes.synced]);
      for (const key of this.keys?.() ?? []) enqueue(key);
    },
    keys: () => [...room.volumes.list().map(({ metadata }) => `volume/${metadata.name}`), ...claimKeys()],
    async reconcile(key) {
      const [kind, rest] = [key.slice(0, key.indexOf('/')), key.slice(key.indexOf('/') + 1)];
      if (kind === 'volume') {
        const volume = room.volumes.get(rest);
        if (volume) await syncVolume(room, volume);
        return;
      }
      const { namespace, name } = splitKey(rest);
      const claim = room.claims.get(name, namespace);
      if (claim) await syncClaim(room, claim);
    },
  };
}
