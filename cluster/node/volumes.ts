/**
 * The mounts of a container: each `volumeMount` with what its volume is made of.
 *
 * Files of ConfigMaps, Secrets and the downward API are written by the engine for each container, read-only; they show
 * the state at the container's start. A directory on disk has a size, `sizeLimit` or 1Gi, so that no app can fill the
 * host; one in memory counts against the container that writes it.
 */
import type { Mount } from '#engine/engine.ts';
import type { ConfigMap, Container, KeyToPath, Pod, Secret, Volume, VolumeMount } from '../kinds/types/core.ts';
import { fieldValue, type PodPlace, resourceValue } from './downward.ts';
import { expand } from './environment.ts';
import { AgentError } from './errors.ts';
import { bytesOf } from './quantity.ts';
import type { References } from './references.ts';

export const defaultDiskBytes = 2 ** 30;

export interface VolumeInput {
  pod: Pod;
  container: Container;
  place: PodPlace;
  references: References;
  environment: ReadonlyMap<string, string>;
  allowHostPath: boolean;
  /** Writes one file where only this container will see it, and gives its path on the host (for `subPath`). */
  writeFile: (name: string, file: VolumeFile) => Promise<string>;
}

export interface VolumeFile {
  path: string;
  content: Uint8Array;
  mode?: number;
}

export async function mountsOf(input: VolumeInput): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const mount of input.container.volumeMounts ?? []) mounts.push(await mountOf(input, mount));
  return mounts;
}

async function mountOf(input: VolumeInput, mount: VolumeMount): Promise<Mount> {
  const volume = input.pod.spec?.volumes?.find(({ name }) => name === mount.name);
  if (!volume) throw invalid(`volumeMount "${mount.name}": the pod has no volume of this name`);
  const target = mount.mountPath;
  const subPath = mount.subPathExpr ? expand(mount.subPathExpr, input.environment) : mount.subPath;
  if (subPath) checkPath(`volumeMounts "${mount.name}" subPath`, subPath);
  if (volume.emptyDir) {
    if (subPath) throw invalid(`volumeMount "${mount.name}": subPath is not supported on emptyDir: mount the whole`);
    const memory = volume.emptyDir.medium === 'Memory';
    const size = volume.emptyDir.sizeLimit;
    const sizeBytes =
      size === undefined || bytesOf(size) === 0 ? (memory ? undefined : defaultDiskBytes) : bytesOf(size);
    return {
      kind: 'shared',
      name: volume.name,
      target,
      ...(sizeBytes !== undefined && { sizeBytes }),
      ...(memory && { memory }),
      ...(mount.readOnly && { readOnly: true }),
    };
  }
  if (volume.hostPath) {
    if (!input.allowHostPath) throw invalid(`volume "${volume.name}": hostPath is not allowed on this node`);
    const source = subPath ? `${volume.hostPath.path}/${subPath}` : volume.hostPath.path;
    return { kind: 'bind', source, target, ...(mount.readOnly && { readOnly: true }) };
  }
  const files = await filesOf(input, volume);
  if (!subPath) return { kind: 'files', target, files, readOnly: true };
  const file = files.find(({ path }) => path === subPath);
  if (file) {
    const source = await input.writeFile(`${volume.name}/${subPath}`, file);
    return { kind: 'bind', source, target, readOnly: true };
  }
  const below = files
    .filter(({ path }) => path.startsWith(`${subPath}/`))
    .map((entry) => ({ ...entry, path: entry.path.slice(subPath.length + 1) }));
  if (below.length === 0) throw invalid(`volumeMount "${mount.name}": subPath "${subPath}" is not in the volume`);
  return { kind: 'files', target, files: below, readOnly: true };
}

async function filesOf(input: VolumeInput, volume: Volume): Promise<VolumeFile[]> {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) return finish(input, await configMapFiles(input, configMap), configMap.defaultMode);
  if (secret) {
    const { secretName: name, ...rest } = secret;
    return finish(
      input,
      await secretFiles(input, { ...rest, ...(name !== undefined && { name }) }),
      secret.defaultMode,
    );
  }
  if (downwardAPI) return finish(input, downwardFiles(input, downwardAPI.items), downwardAPI.defaultMode);
  if (projected) {
    const files: VolumeFile[] = [];
    for (const source of projected.sources ?? []) {
      if (source.configMap) files.push(...(await configMapFiles(input, source.configMap)));
      else if (source.secret) files.push(...(await secretFiles(input, source.secret)));
      else if (source.downwardAPI) files.push(...downwardFiles(input, source.downwardAPI.items));
      else if (source.serviceAccountToken) {
        const { path, audience, expirationSeconds } = source.serviceAccountToken;
        const token = await input.references.serviceAccountToken({
          ...(audience !== undefined && { audience }),
          ...(expirationSeconds !== undefined && { expirationSeconds }),
        });
        files.push({ path, content: Buffer.from(token) });
      } else throw invalid(`volume "${volume.name}": a projected source of this kind is not supported`);
    }
    return finish(input, files, projected.defaultMode);
  }
  throw invalid(
    `volume "${volume.name}": this kind of volume is not supported; use emptyDir, configMap, secret, downwardAPI or projected`,
  );
}

interface KeyedSource {
  name?: string;
  items?: KeyToPath[];
  optional?: boolean;
}

async function configMapFiles(input: VolumeInput, source: KeyedSource): Promise<VolumeFile[]> {
  const configMap: ConfigMap | undefined = await input.references.configMap(source.name ?? '');
  if (!configMap && !source.optional) throw invalid(`configmap "${source.name ?? ''}" not found`);
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(configMap?.data ?? {})) data.set(key, Buffer.from(value));
  for (const [key, value] of Object.entries(configMap?.binaryData ?? {})) data.set(key, Buffer.from(value, 'base64'));
  return pick(`configmap "${source.name ?? ''}"`, data, source);
}

async function secretFiles(input: VolumeInput, source: KeyedSource): Promise<VolumeFile[]> {
  const secret: Secret | undefined = await input.references.secret(source.name ?? '');
  if (!secret && !source.optional) throw invalid(`secret "${source.name ?? ''}" not found`);
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(secret?.data ?? {})) data.set(key, Buffer.from(value, 'base64'));
  return pick(`secret "${source.name ?? ''}"`, data, source);
}

function pick(what: string, data: Map<string, Uint8Array>, source: KeyedSource): VolumeFile[] {
  if (!source.items) return [...data].map(([path, content]) => ({ path, content }));
  const files: VolumeFile[] = [];
  for (const { key, path, mode } of source.items) {
    const content = data.get(key);
    if (content) files.push({ path, content, ...(mode !== undefined && { mode }) });
    else if (!source.optional) throw invalid(`${what} has no key "${key}"`);
  }
  return files;
}

function downwardFiles(
  { pod, place, container }: VolumeInput,
  items: {
    path: string;
    mode?: number;
    fieldRef?: { fieldPath: string };
    resourceFieldRef?: { resource: string };
  }[] = [],
): VolumeFile[] {
  return items.map(({ path, mode, fieldRef, resourceFieldRef }) => {
    const text = fieldRef
      ? fieldValue(pod, place, fieldRef)
      : resourceFieldRef
        ? resourceValue(pod, place, resourceFieldRef, container)
        : '';
    return { path, content: Buffer.from(text), ...(mode !== undefined && { mode }) };
  });
}

/** Modes: the file's, else the volume's. With an `fsGroup` all may read, as the files belong to the container's root. */
function finish(input: VolumeInput, files: VolumeFile[], defaultMode = 0o644): VolumeFile[] {
  const readable = input.pod.spec?.securityContext?.fsGroup === undefined ? 0 : 0o444;
  return files.map((file) => {
    checkPath('volume item path', file.path);
    return { ...file, mode: (file.mode ?? defaultMode) | readable };
  });
}

function checkPath(field: string, path: string): void {
  if (path === '' || path.startsWith('/') || path.includes('\0') || path.split('/').includes('..')) {
    throw invalid(`${field} "${path}" must be relative and must not contain ".."`);
  }
}

function invalid(message: string): AgentError {
  return new AgentError('CreateContainerConfigError', message);
}
