/** What the volumes of a pod, and their mounts, must be, with the errors of the API reference. */
import { fileFieldErrors, resourceSelectorErrors } from './environment-validate.ts';
import { validateClaimSpec } from './persistent-volume-claim.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { driverName } from './csi-driver.ts';
import { validateAnnotations } from './metadata.ts';
import { dnsLabelProblem, validateLabels } from './names.ts';
import { quantityProblem, quantityValue } from './quantity.ts';
import { check, dnsSubdomain, present } from './rules.ts';
import type { Container, KeyToPath, Volume, VolumeMount, VolumeProjection } from './types/core.ts';

export const HOST_PATH_TYPES = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];
const MEDIUMS = /^(Memory|HugePages(-.+)?)?$/;
const PROPAGATIONS = ['Bidirectional', 'HostToContainer', 'None'];
const RECURSIVE = ['Disabled', 'Enabled', 'IfPossible'];
const SHORTEST_TOKEN = 600;
const MODE_TEXT = 'must be a number between 0 and 0777 (octal), both inclusive';

/** @returns them by their names, for the mounts */
export function validateVolumes(volumes: readonly Volume[], at: string, errors: FieldError[]): Map<string, Volume> {
  const names = new Map<string, Volume>();
  for (const [index, volume] of volumes.entries()) {
    const path = `${at}[${index}]`;
    const problem = volume.name ? dnsLabelProblem(volume.name) : undefined;
    if (!volume.name) errors.push(required(`${path}.name`));
    if (problem !== undefined) errors.push(invalid(`${path}.name`, volume.name, problem));
    if (names.has(volume.name)) errors.push(duplicate(`${path}.name`, volume.name));
    names.set(volume.name, volume);
    const kinds = Object.keys(volume).filter((key) => key !== 'name');
    if (kinds.length === 0) errors.push(required(path, 'must specify a volume type'));
    for (const kind of kinds.slice(1))
      errors.push(forbidden(`${path}.${kind}`, 'may not specify more than 1 volume type'));
    errors.push(...sourceErrors(volume, path));
  }
  return names;
}

function sourceErrors(volume: Volume, at: string): FieldError[] {
  const { configMap, secret, downwardAPI, projected, emptyDir, hostPath, persistentVolumeClaim, ephemeral, csi, nfs } =
    volume;
  if (hostPath !== undefined) return hostPathErrors(hostPath, `${at}.hostPath`);
  if (emptyDir !== undefined) return emptyDirErrors(emptyDir, `${at}.emptyDir`);
  if (persistentVolumeClaim !== undefined)
    return persistentVolumeClaim.claimName ? [] : [required(`${at}.persistentVolumeClaim.claimName`)];
  if (ephemeral !== undefined) {
    const template = ephemeral.volumeClaimTemplate;
    if (template === undefined) return [required(`${at}.ephemeral.volumeClaimTemplate`)];
    const place = `${at}.ephemeral.volumeClaimTemplate`;
    return [
      ...validateLabels(template.metadata?.labels, `${place}.metadata.labels`),
      ...validateAnnotations(template.metadata?.annotations, `${place}.metadata.annotations`),
      ...validateClaimSpec(template.spec, `${place}.spec`),
    ];
  }
  if (csi !== undefined)
    return [
      ...driverName(csi.driver, `${at}.csi.driver`),
      ...(csi.nodePublishSecretRef === undefined
        ? []
        : check(csi.nodePublishSecretRef, { name: [present(), dnsSubdomain] }, `${at}.csi.nodePublishSecretRef`)),
    ];
  if (nfs !== undefined) return nfsErrors(nfs, `${at}.nfs`);
  const errors: FieldError[] = [];
  if (secret !== undefined) {
    if (!secret.secretName) errors.push(required(`${at}.secret.secretName`));
    errors.push(...itemErrors(secret.items, `${at}.secret.items`), ...modeErrors(secret, `${at}.secret`));
  }
  if (configMap !== undefined) {
    if (!configMap.name) errors.push(required(`${at}.configMap.name`));
    errors.push(...itemErrors(configMap.items, `${at}.configMap.items`), ...modeErrors(configMap, `${at}.configMap`));
  }
  if (downwardAPI !== undefined)
    errors.push(
      ...downwardErrors(downwardAPI.items, `${at}.downwardAPI.items`),
      ...modeErrors(downwardAPI, `${at}.downwardAPI`),
    );
  if (projected !== undefined) {
    errors.push(...modeErrors(projected, `${at}.projected`));
    for (const [index, source] of (projected.sources ?? []).entries())
      errors.push(...projectionErrors(source, `${at}.projected.sources[${index}]`));
    errors.push(...conflictErrors(projected.sources ?? [], `${at}.projected`));
  }
  return errors;
}

function nfsErrors({ server, path }: NonNullable<Volume['nfs']>, at: string): FieldError[] {
  return [
    ...(server ? [] : [required(`${at}.server`)]),
    ...(path ? [] : [required(`${at}.path`)]),
    ...(path.startsWith('/') ? [] : [invalid(`${at}.path`, path, 'must be an absolute path')]),
  ];
}

/** Two sources cannot both make one file. */
function conflictErrors(sources: readonly VolumeProjection[], at: string): FieldError[] {
  const seen = new Set<string>();
  return sources.flatMap(({ configMap, secret, downwardAPI, serviceAccountToken }) => {
    const items = [...(configMap?.items ?? []), ...(secret?.items ?? []), ...(downwardAPI?.items ?? [])];
    const paths = [...items.map(({ path }) => path), ...(serviceAccountToken ? [serviceAccountToken.path] : [])];
    return paths.flatMap((path) => {
      const isTaken = path !== '' && seen.has(path);
      seen.add(path);
      return isTaken ? [invalid(at, secret?.name ?? path, 'conflicting duplicate paths')] : [];
    });
  });
}

function projectionErrors(source: VolumeProjection, at: string): FieldError[] {
  const { configMap, secret, downwardAPI, serviceAccountToken: token } = source;
  const kinds = Object.keys(source);
  const errors = kinds
    .slice(1)
    .map((kind) => forbidden(`${at}.${kind}`, 'may not specify more than 1 volume type per source'));
  if (kinds.length === 0) errors.push(required(at, 'no volume source specified'));
  if (configMap !== undefined && !configMap.name) errors.push(required(`${at}.configMap.name`));
  if (secret !== undefined && !secret.name) errors.push(required(`${at}.secret.name`));
  errors.push(
    ...itemErrors(configMap?.items, `${at}.configMap.items`),
    ...itemErrors(secret?.items, `${at}.secret.items`),
  );
  errors.push(...downwardErrors(downwardAPI?.items, `${at}.downwardAPI.items`));
  if (token !== undefined) {
    errors.push(...pathErrors(token.path, `${at}.serviceAccountToken.path`));
    if ((token.expirationSeconds ?? SHORTEST_TOKEN) < SHORTEST_TOKEN)
      errors.push(
        invalid(
          `${at}.serviceAccountToken.expirationSeconds`,
          token.expirationSeconds,
          'may not specify a duration less than 10 minutes',
        ),
      );
  }
  return errors;
}

function itemErrors(items: readonly KeyToPath[] | undefined, at: string): FieldError[] {
  return (items ?? []).flatMap(({ key, path, mode }, index) => [
    ...(key ? [] : [required(`${at}[${index}].key`)]),
    ...pathErrors(path, `${at}[${index}].path`),
    ...fileModeErrors(mode, `${at}[${index}].mode`),
  ]);
}

function downwardErrors(items: NonNullable<Volume['downwardAPI']>['items'] | undefined, at: string): FieldError[] {
  return (items ?? []).flatMap(({ path, mode, fieldRef, resourceFieldRef }, index) => {
    const here = `${at}[${index}]`;
    const errors = [...pathErrors(path, `${here}.path`), ...fileModeErrors(mode, `${here}.mode`)];
    if (fieldRef === undefined && resourceFieldRef === undefined)
      errors.push(required(here, 'one of fieldRef and resourceFieldRef is required'));
    if (fieldRef !== undefined && resourceFieldRef !== undefined)
      errors.push(invalid(here, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'));
    if (fieldRef !== undefined) errors.push(...fileFieldErrors(fieldRef, `${here}.fieldRef`));
    if (resourceFieldRef === undefined) return errors;
    if (!resourceFieldRef.containerName) errors.push(required(`${here}.resourceFieldRef.containerName`));
    errors.push(...resourceSelectorErrors(resourceFieldRef, `${here}.resourceFieldRef`));
    return errors;
  });
}

function pathErrors(path: string, at: string): FieldError[] {
  if (!path) return [required(at)];
  if (path.startsWith('/')) return [invalid(at, path, 'must be a relative path')];
  if (path.split('/').includes('..')) return [invalid(at, path, "must not contain '..'")];
  return path.startsWith('..') ? [invalid(at, path, "must not start with '..'")] : [];
}

function modeErrors({ defaultMode }: { defaultMode?: number }, at: string): FieldError[] {
  return fileModeErrors(defaultMode, `${at}.defaultMode`);
}

function fileModeErrors(mode: number | undefined, at: string): FieldError[] {
  return mode === undefined || (mode >= 0 && mode <= 0o777) ? [] : [invalid(at, mode, MODE_TEXT)];
}

function hostPathErrors({ path, type = '' }: NonNullable<Volume['hostPath']>, at: string): FieldError[] {
  if (!path) return [required(`${at}.path`)];
  const errors: FieldError[] = [];
  if (path.split('/').includes('..')) errors.push(invalid(`${at}.path`, path, "must not contain '..'"));
  if (!HOST_PATH_TYPES.includes(type)) errors.push(notSupported(`${at}.type`, type, HOST_PATH_TYPES));
  return errors;
}

function emptyDirErrors({ medium = '', sizeLimit }: NonNullable<Volume['emptyDir']>, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!MEDIUMS.test(medium)) errors.push(notSupported(`${at}.medium`, medium, ['', 'HugePages', 'Memory']));
  if (sizeLimit === undefined) return errors;
  const problem = quantityProblem(sizeLimit);
  if (problem !== undefined) errors.push(invalid(`${at}.sizeLimit`, sizeLimit, problem));
  else if (quantityValue(sizeLimit) < 0)
    errors.push(forbidden(`${at}.sizeLimit`, 'SizeLimit field must be a valid resource quantity'));
  return errors;
}

export function validateMounts(
  {
    volumeMounts,
    volumeDevices = [],
    securityContext,
  }: Pick<Container, 'volumeMounts' | 'volumeDevices' | 'securityContext'>,
  at: string,
  volumes: ReadonlySet<string>,
): FieldError[] {
  const paths = new Set<string>();
  const devices = new Set(volumeDevices.map(({ name }) => name));
  const devicePaths = new Set(volumeDevices.map(({ devicePath }) => devicePath));
  return (volumeMounts ?? []).flatMap((mount, index) => {
    const path = `${at}[${index}]`;
    const errors: FieldError[] = [];
    if (!volumes.has(mount.name))
      errors.push({
        reason: 'FieldValueInvalid',
        field: `${path}.name`,
        message: `Not found: ${JSON.stringify(mount.name)}`,
      });
    if (!mount.mountPath) errors.push(required(`${path}.mountPath`));
    if (paths.has(mount.mountPath)) errors.push(invalid(`${path}.mountPath`, mount.mountPath, 'must be unique'));
    paths.add(mount.mountPath);
    if (devices.has(mount.name))
      errors.push(invalid(`${path}.name`, mount.name, 'must not already exist in volumeDevices'));
    if (devicePaths.has(mount.mountPath))
      errors.push(invalid(`${path}.mountPath`, mount.mountPath, 'must not already exist as a path in volumeDevices'));
    return [
      ...errors,
      ...subPathErrors(mount, path),
      ...attributeErrors(mount, path, securityContext?.privileged === true),
    ];
  });
}

/** Volumes that a container has as devices: claims only, and not as directories too. */
export function validateDevices(
  { volumeDevices, volumeMounts }: Pick<Container, 'volumeDevices' | 'volumeMounts'>,
  at: string,
  volumes: ReadonlyMap<string, Volume>,
): FieldError[] {
  const mounted = new Set((volumeMounts ?? []).map(({ name }) => name));
  const mountPaths = new Set((volumeMounts ?? []).map(({ mountPath }) => mountPath));
  const [names, paths] = [new Set<string>(), new Set<string>()];
  return (volumeDevices ?? []).flatMap(({ name, devicePath }, index) => {
    const path = `${at}.volumeDevices[${index}]`;
    const errors: FieldError[] = [];
    const volume = volumes.get(name);
    if (!name) errors.push(required(`${path}.name`));
    else if (volume !== undefined && !volume.persistentVolumeClaim && !volume.ephemeral)
      errors.push(
        invalid(
          `${path}.name`,
          name,
          'can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
        ),
      );
    else if (volume === undefined)
      errors.push({
        reason: 'FieldValueInvalid',
        field: `${path}.name`,
        message: `Not found: ${JSON.stringify(name)}`,
      });
    if (names.has(name)) errors.push(invalid(`${path}.name`, name, 'must be unique'));
    if (!devicePath) errors.push(required(`${path}.devicePath`));
    else if (paths.has(devicePath)) errors.push(invalid(`${path}.devicePath`, devicePath, 'must be unique'));
    else if (devicePath.split('/').includes('..'))
      errors.push(invalid(`${path}.devicePath`, devicePath, "can not contain backsteps ('..')"));
    if (mounted.has(name)) errors.push(invalid(`${path}.name`, name, 'must not already exist in volumeMounts'));
    if (mountPaths.has(devicePath))
      errors.push(invalid(`${path}.devicePath`, devicePath, 'must not already exist as a path in volumeMounts'));
    names.add(name);
    paths.add(devicePath);
    return errors;
  });
}

function subPathErrors({ subPath, subPathExpr }: VolumeMount, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (subPath && subPathExpr)
    errors.push(invalid(`${at}.subPathExpr`, subPathExpr, 'subPathExpr and subPath are mutually exclusive'));
  for (const [field, value] of Object.entries({ subPath, subPathExpr })) {
    if (value?.startsWith('/')) errors.push(invalid(`${at}.${field}`, value, 'must be a relative path'));
    else if (value?.split('/').includes('..')) errors.push(invalid(`${at}.${field}`, value, "must not contain '..'"));
  }
  return errors;
}

function attributeErrors(
  { mountPropagation, recursiveReadOnly, readOnly }: VolumeMount,
  at: string,
  isPrivileged: boolean,
): FieldError[] {
  const errors: FieldError[] = [];
  if (mountPropagation !== undefined && !PROPAGATIONS.includes(mountPropagation))
    errors.push(notSupported(`${at}.mountPropagation`, mountPropagation, PROPAGATIONS));
  else if (mountPropagation === 'Bidirectional' && !isPrivileged)
    errors.push(
      forbidden(`${at}.mountPropagation`, 'Bidirectional mount propagation is available only to privileged containers'),
    );
  if (recursiveReadOnly === undefined || recursiveReadOnly === 'Disabled') return errors;
  const field = `${at}.recursiveReadOnly`;
  if (!RECURSIVE.includes(recursiveReadOnly)) errors.push(notSupported(field, recursiveReadOnly, RECURSIVE));
  if (readOnly !== true) errors.push(forbidden(field, 'may only be specified when readOnly is true'));
  if (mountPropagation !== undefined && mountPropagation !== 'None')
    errors.push(forbidden(field, 'may only be specified when mountPropagation is None or not specified'));
  return errors;
}
