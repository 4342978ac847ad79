/** The files of ConfigMap, Secret, projected and downward API volumes, from the objects as they are now. */
import type { WrittenFile } from '#engine/engine.ts';
import type {
  ConfigMap,
  DownwardAPIVolumeFile,
  KeyToPath,
  Pod,
  Secret,
  Volume,
  VolumeProjection,
} from '../kinds/types/core.ts';
import { fieldValue, type PodPlace, resourceValue } from './downward.ts';
import { AgentError } from './errors.ts';
import type { References } from './references.ts';

export interface VolumeFilesInput {
  pod: Pod;
  place: PodPlace;
  references: References;
}

const DEFAULT_MODE = 0o644;
const TOKEN_SECONDS = 3600;

/** Undefined where the volume is of another kind. Rejects with `FailedMount` where something that is not optional is missing. */
export async function filesOf(input: VolumeFilesInput, volume: Volume): Promise<WrittenFile[] | undefined> {
  const source = volume.projected ?? volume.configMap ?? volume.secret ?? volume.downwardAPI;
  if (source === undefined) return undefined;
  const files: WrittenFile[] = [];
  for (const one of projectionsOf(volume)) files.push(...(await projectionFiles(input, volume, one)));
  const fsGroup = input.pod.spec?.securityContext?.fsGroup;
  return files.map((file) => {
    checkPath(volume, file.path);
    const mode = file.mode ?? source.defaultMode ?? DEFAULT_MODE;
    return { ...file, mode: fsGroup === undefined ? mode : mode | 0o440 };
  });
}

/** The objects that the volume is made of: `configmaps/name` or `secrets/name`. */
export function objectsOf(volume: Volume): { resource: 'configmaps' | 'secrets'; name: string }[] {
  return projectionsOf(volume).flatMap(({ configMap, secret }) => [
    ...(configMap?.name ? [{ resource: 'configmaps' as const, name: configMap.name }] : []),
    ...(secret?.name ? [{ resource: 'secrets' as const, name: secret.name }] : []),
  ]);
}

/** The shortest life of the volume's tokens in seconds; undefined where it has none. */
export function tokenLifeOf(volume: Volume): number | undefined {
  const lives = projectionsOf(volume).flatMap(({ serviceAccountToken: token }) =>
    token === undefined ? [] : [token.expirationSeconds ?? TOKEN_SECONDS],
  );
  return lives.length === 0 ? undefined : Math.min(...lives);
}

export function hasDownward(volume: Volume): boolean {
  return projectionsOf(volume).some(({ downwardAPI }) => downwardAPI !== undefined);
}

/** A volume of one source is one of many with a single one. */
function projectionsOf({ projected, configMap, secret, downwardAPI }: Volume): VolumeProjection[] {
  if (projected) return projected.sources ?? [];
  if (configMap) return [{ configMap }];
  if (secret) {
    const { secretName, defaultMode: _mode, ...rest } = secret;
    return [{ secret: { ...rest, ...(secretName !== undefined && { name: secretName }) } }];
  }
  return downwardAPI ? [{ downwardAPI }] : [];
}

async function projectionFiles(
  input: VolumeFilesInput,
  volume: Volume,
  source: VolumeProjection,
): Promise<WrittenFile[]> {
  if (source.configMap) return configMapFiles(input, source.configMap);
  if (source.secret) return secretFiles(input, source.secret);
  if (source.downwardAPI) return downwardFiles(input, source.downwardAPI.items ?? []);
  if (source.serviceAccountToken) return [await tokenFile(input, source.serviceAccountToken)];
  throw failed(`a projected source of volume "${volume.name}" is of a kind that is not supported`);
}

interface KeyedSource {
  name?: string;
  items?: KeyToPath[];
  optional?: boolean;
}

async function configMapFiles({ references }: VolumeFilesInput, source: KeyedSource): Promise<WrittenFile[]> {
  const configMap: ConfigMap | undefined = await references.configMap(source.name ?? '');
  if (!configMap && !source.optional) throw failed(`configmap "${source.name ?? ''}" not found`);
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(configMap?.data ?? {})) data.set(key, Buffer.from(value));
  for (const [key, value] of Object.entries(configMap?.binaryData ?? {})) data.set(key, Buffer.from(value, 'base64'));
  return pick('configmap references non-existent config key', data, source);
}

async function secretFiles({ references }: VolumeFilesInput, source: KeyedSource): Promise<WrittenFile[]> {
  const secret: Secret | undefined = await references.secret(source.name ?? '');
  if (!secret && !source.optional) throw failed(`secret "${source.name ?? ''}" not found`);
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(secret?.data ?? {})) data.set(key, Buffer.from(value, 'base64'));
  return pick('references non-existent secret key', data, source);
}

function pick(missing: string, data: Map<string, Uint8Array>, source: KeyedSource): WrittenFile[] {
  if (!source.items) return [...data].map(([path, content]) => ({ path, content }));
  const files: WrittenFile[] = [];
  for (const { key, path, mode } of source.items) {
    const content = data.get(key);
    if (content) files.push({ path, content, ...(mode !== undefined && { mode }) });
    else if (!source.optional) throw failed(`${missing}: ${key}`);
  }
  return files;
}

function downwardFiles({ pod, place }: VolumeFilesInput, items: readonly DownwardAPIVolumeFile[]): WrittenFile[] {
  return items.map(({ path, mode, fieldRef, resourceFieldRef }) => {
    const text = fieldRef
      ? fieldValue(pod, place, fieldRef)
      : resourceFieldRef
        ? resourceValue(pod, place, resourceFieldRef, undefined)
        : '';
    return { path, content: Buffer.from(text), ...(mode !== undefined && { mode }) };
  });
}

/** Readable by the group, or by the one user that all containers run as, where there is one; else by all, as upstream. */
async function tokenFile(
  { pod, references }: VolumeFilesInput,
  { path, audience, expirationSeconds }: { path: string; audience?: string; expirationSeconds?: number },
): Promise<WrittenFile> {
  const token = await references.serviceAccountToken({
    ...(audience !== undefined && { audience }),
    ...(expirationSeconds !== undefined && { expirationSeconds }),
  });
  const uid = commonUser(pod);
  const isPrivate = uid !== undefined || pod.spec?.securityContext?.fsGroup !== undefined;
  return { path, content: Buffer.from(token), ...(isPrivate && { mode: 0o600 }), ...(uid !== undefined && { uid }) };
}

function commonUser({ spec }: Pod): number | undefined {
  const users = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(
    ({ securityContext }) => securityContext?.runAsUser ?? spec?.securityContext?.runAsUser,
  );
  return users.every((user) => user === users[0]) ? users[0] : undefined;
}

function checkPath({ name }: Volume, path: string): void {
  const isPlain = path !== '' && !path.startsWith('/') && !path.startsWith('..') && !path.includes('\0');
  if (!isPlain || path.split('/').includes('..'))
    throw failed(`volume "${name}": the path "${path}" must be relative, must not contain ".." and not begin with it`);
}

function failed(message: string): AgentError {
  return new AgentError('FailedMount', message);
}
