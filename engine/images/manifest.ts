/**
 * Manifests, indexes and image configurations: OCI image-spec 1.1 (manifest.md, image-index.md, config.md) and Docker's
 * schema 2. What is read here came from outside; anything that does not fit is refused with `invalid`.
 */
import { isDigest } from '#lib/digest.ts';
import { EngineError, type Healthcheck, type ImageConfig } from '../engine.ts';

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** What we accept, in the order that we like it. */
export const MANIFEST_TYPES: readonly string[] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

export const LARGEST_MANIFEST = 4 * 1024 * 1024;
const MOST_LAYERS = 500;

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  platform?: { os: string; architecture: string; variant?: string };
  annotations?: Record<string, string>;
}

export type Manifest =
  | {
      kind: 'index';
      mediaType: string;
      manifests: Descriptor[];
      subject?: Descriptor;
      artifactType?: string;
      annotations?: Record<string, string>;
    }
  | {
      kind: 'manifest';
      mediaType: string;
      config: Descriptor;
      layers: Descriptor[];
      subject?: Descriptor;
      artifactType?: string;
      annotations?: Record<string, string>;
    };

type Document = Record<string, unknown>;

/** @param contentType  as the transport announced it; decides only where the document itself names no media type */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  if (bytes.byteLength > LARGEST_MANIFEST)
    throw invalid(`manifest of ${bytes.byteLength} bytes: at most ${LARGEST_MANIFEST}`);
  const document = parseObject(bytes, 'manifest');
  if (document['schemaVersion'] !== 2)
    throw invalid(`manifest.schemaVersion is ${JSON.stringify(document['schemaVersion'])}: only 2 is supported`);
  // A document that is both would be one thing to one reader and another to the next.
  if (document['manifests'] !== undefined && (document['layers'] !== undefined || document['config'] !== undefined)) {
    throw invalid('manifest holds both `manifests` and `layers` or `config`: it must be one of index and manifest');
  }
  const announced = contentType?.split(';')[0]?.trim();
  const own = document['mediaType'];
  if (own !== undefined && typeof own !== 'string') throw invalid('manifest.mediaType is no string');
  const isIndex = document['manifests'] !== undefined;
  const mediaType =
    own ??
    (announced !== undefined && MANIFEST_TYPES.includes(announced) ? announced : isIndex ? OCI_INDEX : OCI_MANIFEST);
  if (!MANIFEST_TYPES.includes(mediaType))
    throw invalid(`manifest.mediaType ${JSON.stringify(mediaType)} is not supported`);
  if (own !== undefined && announced !== undefined && MANIFEST_TYPES.includes(announced) && own !== announced) {
    throw invalid(`manifest.mediaType is ${own}, but it was sent as ${announced}`);
  }
  if (isIndex !== (mediaType === OCI_INDEX || mediaType === DOCKER_LIST)) {
    throw invalid(`manifest does not have the fields of its media type ${mediaType}`);
  }
  const common: { subject?: Descriptor; artifactType?: string; annotations?: Record<string, string> } = {};
  if (document['subject'] !== undefined) common.subject = descriptor(document['subject'], 'manifest.subject');
  if (typeof document['artifactType'] === 'string') common.artifactType = document['artifactType'];
  if (document['annotations'] !== undefined)
    common.annotations = strings(document['annotations'], 'manifest.annotations');
  if (isIndex) {
    return {
      kind: 'index',
      mediaType,
      manifests: descriptors(document['manifests'], 'manifest.manifests', 10_000),
      ...common,
    };
  }
  return {
    kind: 'manifest',
    mediaType,
    config: descriptor(document['config'], 'manifest.config'),
    layers: descriptors(document['layers'], 'manifest.layers', MOST_LAYERS),
    ...common,
  };
}

/** The index's manifest for this machine. @throws EngineError `invalid` naming the platforms that it has */
export function choosePlatform(
  manifests: readonly Descriptor[],
  architecture: string = process.arch,
  variant?: string,
): Descriptor {
  const wanted = architecture === 'x64' ? 'amd64' : architecture;
  const fitting = manifests.filter(({ platform }) => platform?.os === 'linux' && platform.architecture === wanted);
  if (variant !== undefined && variant !== '') {
    const exact = fitting.find(({ platform }) => platform?.variant === variant);
    if (exact !== undefined) return exact;
  }
  const plain = fitting.find(
    ({ platform }) => platform?.variant === undefined || platform.variant === 'v8' || platform.variant === 'v1',
  );
  const chosen = plain ?? fitting[0];
  if (chosen !== undefined) return chosen;
  const only = manifests[0];
  if (manifests.length === 1 && only !== undefined && only.platform === undefined) return only;
  const there = manifests.flatMap(({ platform }) =>
    platform === undefined ? [] : [`${platform.os}/${platform.architecture}`],
  );
  throw invalid(`the image has no manifest for linux/${wanted}; it has ${there.slice(0, 20).join(', ') || 'none'}`);
}

export interface ImageDocument {
  createdAt: number;
  config: ImageConfig;
  history: { created?: string; createdBy?: string; comment?: string; emptyLayer: boolean }[];
}

export function parseImageConfig(bytes: Uint8Array): ImageDocument {
  const document = parseObject(bytes, 'image config');
  const rootfs = object(document['rootfs'], 'rootfs');
  const layers = stringList(rootfs['diff_ids'], 'rootfs.diff_ids') ?? [];
  for (const layer of layers) {
    if (!isDigest(layer))
      throw invalid(`image config: rootfs.diff_ids holds ${JSON.stringify(layer)}, which is no digest`);
  }
  const config: ImageConfig = {
    architecture: text(document['architecture'], 'architecture') ?? 'unknown',
    os: text(document['os'], 'os') ?? 'unknown',
    layers,
  };
  const run = object(document['config'] ?? {}, 'config');
  const user = text(run['User'], 'config.User');
  const env = stringList(run['Env'], 'config.Env');
  const entrypoint = stringList(run['Entrypoint'], 'config.Entrypoint');
  const cmd = stringList(run['Cmd'], 'config.Cmd');
  const workingDirectory = text(run['WorkingDir'], 'config.WorkingDir');
  const stopSignal = text(run['StopSignal'], 'config.StopSignal');
  if (user) config.user = user;
  if (env) config.env = env;
  if (entrypoint) config.entrypoint = entrypoint;
  if (cmd) config.cmd = cmd;
  if (workingDirectory) config.workingDirectory = workingDirectory;
  if (stopSignal) config.stopSignal = stopSignal;
  if (run['Labels']) config.labels = strings(run['Labels'], 'config.Labels');
  if (run['ExposedPorts']) config.exposedPorts = Object.keys(object(run['ExposedPorts'], 'config.ExposedPorts'));
  if (run['Volumes']) config.volumes = Object.keys(object(run['Volumes'], 'config.Volumes'));
  const healthcheck = parseHealthcheck(run['Healthcheck']);
  if (healthcheck) config.healthcheck = healthcheck;
  const created = Date.parse(text(document['created'], 'created') ?? '');
  const history = Array.isArray(document['history']) ? document['history'] : [];
  return {
    createdAt: Number.isNaN(created) ? 0 : created,
    config,
    history: history.slice(0, 1000).map((step: unknown) => {
      const entry = object(step, 'history');
      return {
        created: text(entry['created'], 'history.created'),
        createdBy: text(entry['created_by'], 'history.created_by'),
        comment: text(entry['comment'], 'history.comment'),
        emptyLayer: entry['empty_layer'] === true,
      };
    }),
  };
}

/** Docker's, in nanoseconds. An image with one that makes no sense is run without. */
function parseHealthcheck(value: unknown): Healthcheck | undefined {
  if (value === undefined || value === null) return undefined;
  const check = object(value, 'config.Healthcheck');
  const found: Healthcheck = { test: stringList(check['Test'], 'config.Healthcheck.Test') ?? [] };
  const number = (name: string): number | undefined => {
    const given = check[name];
    return typeof given === 'number' && Number.isFinite(given) && given > 0 ? given : undefined;
  };
  const times = {
    interval: 'Interval',
    timeout: 'Timeout',
    startPeriod: 'StartPeriod',
    startInterval: 'StartInterval',
  };
  for (const [field, name] of Object.entries(times)) {
    const nanoseconds = number(name);
    if (nanoseconds !== undefined) found[field as keyof typeof times] = nanoseconds / 1_000_000;
  }
  const retries = number('Retries');
  if (retries !== undefined) found.retries = retries;
  return found.test.length === 0 ? undefined : found;
}

function descriptors(value: unknown, path: string, most: number): Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`${path} is no list`);
  if (value.length > most) throw invalid(`${path} has ${value.length} entries: at most ${most}`);
  return value.map((entry: unknown, index) => descriptor(entry, `${path}[${index}]`));
}

function descriptor(value: unknown, path: string): Descriptor {
  const entry = object(value, path);
  const { mediaType, digest, size } = entry;
  if (typeof mediaType !== 'string' || mediaType.length > 255) throw invalid(`${path}.mediaType is no media type`);
  if (typeof digest !== 'string' || !isDigest(digest))
    throw invalid(`${path}.digest ${JSON.stringify(digest)} is no digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`${path}.size ${JSON.stringify(size)} is no size`);
  const found: Descriptor = { mediaType, digest, size };
  if (typeof entry['artifactType'] === 'string') found.artifactType = entry['artifactType'];
  if (entry['annotations'] !== undefined) found.annotations = strings(entry['annotations'], `${path}.annotations`);
  if (entry['platform'] !== undefined) {
    const platform = object(entry['platform'], `${path}.platform`);
    found.platform = {
      os: text(platform['os'], `${path}.platform.os`) ?? '',
      architecture: text(platform['architecture'], `${path}.platform.architecture`) ?? '',
    };
    const variant = text(platform['variant'], `${path}.platform.variant`);
    if (variant) found.platform.variant = variant;
  }
  return found;
}

function parseObject(bytes: Uint8Array, what: string): Document {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid(`${what} is no JSON in UTF-8`, cause);
  }
  return object(value, what);
}

function object(value: unknown, path: string): Document {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${path} is no JSON object`);
  return value as Document;
}

function text(value: unknown, path: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalid(`${path} is no string`);
  return value;
}

function stringList(value: unknown, path: string): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.some((entry) => typeof entry !== 'string'))
    throw invalid(`${path} is no list of strings`);
  return value as string[];
}

function strings(value: unknown, path: string): Record<string, string> {
  const entries = Object.entries(object(value, path));
  for (const [key, entry] of entries) {
    if (typeof entry !== 'string') throw invalid(`${path}[${JSON.stringify(key)}] is no string`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function invalid(message: string, cause?: unknown): EngineError {
  return new EngineError('invalid', message, cause === undefined ? undefined : { cause });
}
