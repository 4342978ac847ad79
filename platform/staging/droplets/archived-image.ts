/** The image that an archive describes, from what its small blobs say: nothing of it is believed before it was checked here. */
import { commandLine } from '../export/launch.ts';
import { type Descriptor, type ImageConfigFile, type Manifest, mediaTypes, ociArchitecture } from '../images/oci.ts';
import { StagingError, type StoredDroplet } from '../staging.ts';

const LAUNCHER = '/cnb/launcher';
const INDEXES = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);
const LAYERS = new Set<string>([
  mediaTypes.layer,
  mediaTypes.layerGzip,
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
]);

export interface ArchivedImage {
  manifestBytes: Buffer;
  mediaType: string;
  manifest: Manifest;
  configBytes: Buffer;
  config: ImageConfigFile;
}

/** By name in the archive. @throws StagingError `invalid-bits` */
export function imageOf(small: ReadonlyMap<string, Buffer>): ArchivedImage {
  const index = parsed(small.get('index.json'), 'index.json');
  const { body: manifestBytes, value } = manifestOf(small, index, 2);
  const manifest = value as unknown as Manifest;
  const descriptors = [manifest.config, ...(Array.isArray(manifest.layers) ? manifest.layers : [])];
  for (const blob of descriptors as unknown[]) checkDescriptor(blob);
  for (const { mediaType } of manifest.layers) {
    if (!LAYERS.has(mediaType)) throw refuse(`a layer is ${JSON.stringify(mediaType).slice(0, 120)}`);
  }
  const configBytes = small.get(`blobs/${manifest.config.digest.replace(':', '/')}`);
  const config = parsed(configBytes, 'the configuration') as unknown as ImageConfigFile;
  checkConfig(config, manifest.layers.length);
  return {
    manifestBytes,
    mediaType: typeof value['mediaType'] === 'string' ? value['mediaType'] : mediaTypes.manifest,
    manifest,
    configBytes: configBytes ?? Buffer.alloc(0),
    config,
  };
}

/** The one for this machine's processor; `docker save` puts an index around it. */
function manifestOf(
  small: ReadonlyMap<string, Buffer>,
  index: Record<string, unknown>,
  depth: number,
): { body: Buffer; value: Record<string, unknown> } {
  const listed = (Array.isArray(index['manifests']) ? (index['manifests'] as unknown[]) : []).filter(isDescriptor);
  const here = ociArchitecture();
  const fits = listed.filter(({ platform }) => platform === undefined || platform.architecture === here);
  const [chosen] = fits;
  if (chosen === undefined) throw refuse(`index.json names no image for ${here}`);
  const body = small.get(`blobs/${chosen.digest.replace(':', '/')}`);
  const value = parsed(body, `blob ${chosen.digest}`);
  const nested = typeof value['mediaType'] === 'string' && INDEXES.has(value['mediaType']);
  if (!nested) return { body: body ?? Buffer.alloc(0), value };
  if (depth === 0) throw refuse('its index is nested too deep');
  return manifestOf(small, value, depth - 1);
}

function checkDescriptor(value: unknown): void {
  if (!isDescriptor(value)) throw refuse('its manifest has a descriptor without digest, size and media type');
}

function isDescriptor(value: unknown): value is Descriptor & { platform?: { architecture?: string } } {
  if (!isObject(value)) return false;
  const { digest, size, mediaType, platform } = value;
  return (
    typeof mediaType === 'string' &&
    typeof digest === 'string' &&
    /^sha256:[0-9a-f]{64}$/.test(digest) &&
    typeof size === 'number' &&
    Number.isSafeInteger(size) &&
    size >= 0 &&
    (platform === undefined || isObject(platform))
  );
}

function checkConfig(config: ImageConfigFile, layers: number): void {
  const here = ociArchitecture();
  if (config.os !== 'linux' || config.architecture !== here) {
    throw refuse(`it is for ${JSON.stringify(`${config.os}/${config.architecture}`).slice(0, 60)}, not linux/${here}`);
  }
  const entry = isObject(config.config) ? (config.config as { Entrypoint?: unknown }).Entrypoint : undefined;
  if (!Array.isArray(entry) || entry.length !== 1 || entry[0] !== LAUNCHER) {
    throw refuse(`its entry point is not ${LAUNCHER}; push an image of another kind with --docker-image`);
  }
  const diffIds: unknown = isObject(config.rootfs) ? config.rootfs.diff_ids : undefined;
  if (!Array.isArray(diffIds) || diffIds.length !== layers) throw refuse('its configuration names other layers');
}

function parsed(body: Buffer | undefined, what: string): Record<string, unknown> {
  if (body === undefined) throw refuse(`it lacks ${what}`);
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw refuse(`${what} is no JSON`, { cause });
  }
  if (!isObject(value)) throw refuse(`${what} is no JSON object`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

export function refuse(why: string, options?: ErrorOptions): StagingError {
  return new StagingError(
    'invalid-bits',
    `the droplet is no OCI image archive as a download of a droplet gives: ${why}`,
    options,
  );
}

/** Of the name of a blob in a layout. */
export function blobDigest(name: string): string | undefined {
  const match = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name);
  return match ? `sha256:${match[1]}` : undefined;
}

/** From the label that every build leaves (Cloud Native Buildpacks' platform specification); a strange one says nothing. */
export function launchFacts(config: ImageConfigFile): Pick<StoredDroplet, 'processTypes' | 'buildpacks'> {
  const label = config.config.Labels?.['io.buildpacks.build.metadata'];
  let metadata: unknown;
  try {
    metadata = JSON.parse(String(label ?? '{}'));
  } catch {
    metadata = {};
  }
  const { processes, buildpacks } = isObject(metadata) ? metadata : {};
  const processTypes: Record<string, string> = {};
  for (const process of Array.isArray(processes) ? (processes as unknown[]).slice(0, 100) : []) {
    if (!isObject(process) || typeof process['type'] !== 'string' || !/^[A-Za-z0-9_-]{1,63}$/.test(process['type']))
      continue;
    const command = words(process['command']);
    if (command.length > 0) processTypes[process['type']] = commandLine({ command, args: words(process['args']) });
  }
  const known = (Array.isArray(buildpacks) ? (buildpacks as unknown[]).slice(0, 100) : []).flatMap((buildpack) =>
    isObject(buildpack) && typeof buildpack['id'] === 'string'
      ? [{ name: buildpack['id'].slice(0, 255), version: String(buildpack['version'] ?? '').slice(0, 100) }]
      : [],
  );
  return { processTypes, buildpacks: known };
}

function words(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : typeof value === 'string' ? [value] : [];
  return list.filter((word) => typeof word === 'string');
}
