/** What is odd about volumes, claims and classes that are valid, in upstream's words. */
import { parseAmount } from './amount.ts';
import { nodeLabelWarning, nodeTermsWarnings } from './node-label-warnings.ts';
import type { PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, Volume } from './types/core.ts';
import type { StorageClass } from './types/storage.ts';

const NANO = 1_000_000_000n;
const CLASS_ANNOTATION = 'volume.beta.kubernetes.io/storage-class';
const CLASS_TEXT = 'deprecated since v1.8; use "storageClassName" attribute instead';

/** Kinds of volumes that are going or gone, in the order in which upstream looks for them. */
const POD_VOLUMES = {
  photonPersistentDisk: 'deprecated in v1.11, non-functional in v1.16+',
  gitRepo: 'deprecated in v1.11',
  scaleIO: 'deprecated in v1.16, non-functional in v1.22+',
  flocker: 'deprecated in v1.22, non-functional in v1.25+',
  storageos: 'deprecated in v1.22, non-functional in v1.25+',
  quobyte: 'deprecated in v1.22, non-functional in v1.25+',
  glusterfs: 'deprecated in v1.25, non-functional in v1.26+',
  cephfs: 'deprecated in v1.28, non-functional in v1.31+',
  rbd: 'deprecated in v1.28, non-functional in v1.31+',
} as const;
const PERSISTENT_VOLUMES = [
  'cephfs',
  'photonPersistentDisk',
  'scaleIO',
  'storageos',
  'glusterfs',
  'rbd',
] as const satisfies readonly (keyof typeof POD_VOLUMES)[];

/** Of amounts of bytes: there is no part of one. */
export function fractionWarnings(
  amounts: Readonly<Record<string, string>> | undefined,
  names: readonly string[],
  at: string,
): string[] {
  return names.flatMap((name) => {
    const text = amounts?.[name];
    if (text === undefined || parseAmount(text).nano % NANO === 0n) return [];
    return [`${at}[${name}]: fractional byte value ${JSON.stringify(text)} is invalid, must be an integer`];
  });
}

export function podVolumeWarnings(volume: Volume, at: string): string[] {
  const claim = volume.ephemeral?.volumeClaimTemplate?.spec;
  return [
    ...goneWarnings(volume, Object.keys(POD_VOLUMES) as (keyof typeof POD_VOLUMES)[], at),
    ...(claim === undefined ? [] : claimSpecWarnings(claim, `${at}.ephemeral.volumeClaimTemplate.spec`)),
  ];
}

export function persistentVolumeWarnings({ metadata, spec }: PersistentVolume): string[] {
  return [
    ...classAnnotationWarnings(metadata.annotations),
    ...(spec?.persistentVolumeReclaimPolicy === 'Recycle'
      ? [
          'spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.',
        ]
      : []),
    ...nodeTermsWarnings(
      spec?.nodeAffinity?.required?.nodeSelectorTerms,
      'spec.nodeAffinity.required.nodeSelectorTerms',
    ),
    ...goneWarnings(spec ?? {}, PERSISTENT_VOLUMES, 'spec'),
  ];
}

export function claimWarnings({ metadata, spec }: PersistentVolumeClaim): string[] {
  return [...classAnnotationWarnings(metadata.annotations), ...claimSpecWarnings(spec ?? {}, 'spec')];
}

export function claimSpecWarnings({ resources }: PersistentVolumeClaimSpec, at: string): string[] {
  return (['requests', 'limits'] as const).flatMap((side) =>
    fractionWarnings(resources?.[side], ['storage'], `${at}.resources.${side}`),
  );
}

export function storageClassWarnings({ allowedTopologies }: StorageClass): string[] {
  return (allowedTopologies ?? []).flatMap(({ matchLabelExpressions }, index) =>
    (matchLabelExpressions ?? []).flatMap(({ key }, place) => {
      const text = nodeLabelWarning(key);
      return text === undefined ? [] : [`allowedTopologies[${index}].matchLabelExpressions[${place}].key: ${text}`];
    }),
  );
}

function goneWarnings(source: object, names: readonly (keyof typeof POD_VOLUMES)[], at: string): string[] {
  return names
    .filter((name) => Object.hasOwn(source, name))
    .map((name) => `${at}.${name === 'storageos' ? 'storageOS' : name}: ${POD_VOLUMES[name]}`);
}

function classAnnotationWarnings(annotations: Readonly<Record<string, string>> | undefined): string[] {
  return annotations?.[CLASS_ANNOTATION] === undefined
    ? []
    : [`metadata.annotations[${CLASS_ANNOTATION}]: ${CLASS_TEXT}`];
}
