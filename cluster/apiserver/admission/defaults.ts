/** What a cluster-wide default fills in: the StorageClass of a claim, the IngressClass of an Ingress, a RuntimeClass's overhead. */
import { isDeepStrictEqual } from 'node:util';
import type { TypedResource } from '../../kinds/kind.ts';
import {
  ingressClasses,
  ingresses,
  persistentVolumeClaims,
  pods,
  runtimeClasses,
  storageClasses,
} from '../../kinds/resources.ts';
import type { PersistentVolumeClaim, Pod } from '../../kinds/types/core.ts';
import type { ObjectMeta } from '../../kinds/types/meta.ts';
import type { Ingress } from '../../kinds/types/networking.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { all, find } from './lookup.ts';
import { type AdmissionPlugin, isKind } from './plugin.ts';

const DEFAULT_STORAGE = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
];
const DEFAULT_INGRESS = ['ingressclass.kubernetes.io/is-default-class'];
const OLD_STORAGE = 'volume.beta.kubernetes.io/storage-class';
const OLD_INGRESS = 'kubernetes.io/ingress.class';

export function defaultStorageClass(core: Core): AdmissionPlugin {
  return {
    name: 'DefaultStorageClass',
    mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, persistentVolumeClaims)) return;
      const { spec, metadata } = request.object as PersistentVolumeClaim;
      // An empty name is a choice too: a volume without a class.
      if (
        spec === undefined ||
        spec.storageClassName !== undefined ||
        metadata.annotations?.[OLD_STORAGE] !== undefined
      )
        return;
      const name = defaultOf(core, storageClasses, DEFAULT_STORAGE);
      if (name !== undefined) spec.storageClassName = name;
    },
  };
}

export function defaultIngressClass(core: Core): AdmissionPlugin {
  return {
    name: 'DefaultIngressClass',
    mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, ingresses)) return;
      const { spec, metadata } = request.object as Ingress;
      if (
        spec === undefined ||
        spec.ingressClassName !== undefined ||
        metadata.annotations?.[OLD_INGRESS] !== undefined
      )
        return;
      const name = defaultOf(core, ingressClasses, DEFAULT_INGRESS);
      if (name !== undefined) spec.ingressClassName = name;
    },
  };
}

/** The newest; of those of one second the first by name. */
function defaultOf<T extends { metadata: ObjectMeta }>(
  core: Core,
  ref: TypedResource<T>,
  annotations: readonly string[],
): string | undefined {
  const defaults = all(core, ref).filter(({ metadata }) =>
    annotations.some((annotation) => metadata.annotations?.[annotation] === 'true'),
  );
  const created = ({ metadata }: T) => Date.parse(metadata.creationTimestamp ?? '');
  return defaults.sort(
    (a, b) => created(b) - created(a) || ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1),
  )[0]?.metadata.name;
}

export function runtimeClass(core: Core): AdmissionPlugin {
  return {
    name: 'RuntimeClass',
    mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, pods)) return;
      const { spec } = request.object as Pod;
      if (spec === undefined) return;
      const refuse = (why: string) => forbidden(request.kind, request.name, `pod rejected: ${why}`);
      if (!spec.runtimeClassName) {
        if (spec.overhead !== undefined)
          throw refuse('Pod Overhead set without corresponding RuntimeClass defined Overhead');
        return;
      }
      const found = find(core, runtimeClasses, '', spec.runtimeClassName);
      if (found === undefined) throw refuse(`RuntimeClass "${spec.runtimeClassName}" not found`);
      const { overhead, scheduling } = found;
      if (spec.overhead !== undefined && !isDeepStrictEqual(spec.overhead, overhead?.podFixed))
        throw refuse("Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      if (overhead?.podFixed !== undefined) spec.overhead = { ...overhead.podFixed };
      for (const [key, value] of Object.entries(scheduling?.nodeSelector ?? {})) {
        if ((spec.nodeSelector?.[key] ?? value) !== value)
          throw refuse(
            `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${spec.nodeSelector?.[key]}`,
          );
        spec.nodeSelector = { ...spec.nodeSelector, [key]: value };
      }
      const added = (scheduling?.tolerations ?? []).filter(
        (one) => !spec.tolerations?.some((own) => isDeepStrictEqual(own, one)),
      );
      if (added.length > 0) spec.tolerations = [...(spec.tolerations ?? []), ...structuredClone(added)];
    },
  };
}
