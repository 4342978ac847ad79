/**
 * The parts of the OCI image format that staging writes (image-spec v1.1: descriptor.md, manifest.md, config.md).
 * Everything here is a pure function of its input: the same layers and configuration give the same bytes, so the same
 * digest. Time in images is always `CREATED`.
 */
import { digestOf } from '#lib/digest.ts';

export const mediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/** The `created` of every image of ours; the second of January 1, 1980 that Cloud Native Buildpacks use as well. */
export const CREATED = '1980-01-01T00:00:01Z';
/** The same in seconds since the epoch, for tar entries. */
export const CREATED_SECONDS = 315_532_801;

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

export interface Manifest {
  schemaVersion: 2;
  mediaType: string;
  artifactType?: string;
  subject?: Descriptor;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
}

/** A layer that lies in the registry. */
export interface Layer {
  mediaType: string;
  digest: string;
  sizeBytes: number;
  /** Digest of the uncompressed tar. */
  diffId: string;
}

/** `config` of the image configuration: what a container is made from. */
export interface RunConfig {
  User?: string;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  Labels?: Record<string, string>;
  ExposedPorts?: Record<string, Record<string, never>>;
  /** Docker's; the platform has health checks of its own. */
  Healthcheck?: unknown;
}

export interface ImageConfigFile {
  created?: string;
  architecture: string;
  os: string;
  config: RunConfig;
  rootfs: { type: 'layers'; diff_ids: string[] };
  history?: { created?: string; created_by?: string }[];
}

export function imageConfig(options: { architecture: string; layers: readonly Layer[]; run: RunConfig }): Buffer {
  const file: ImageConfigFile = {
    created: CREATED,
    architecture: options.architecture,
    os: 'linux',
    config: options.run,
    rootfs: { type: 'layers', diff_ids: options.layers.map((layer) => layer.diffId) },
  };
  return Buffer.from(JSON.stringify(file));
}

export function imageManifest(options: {
  config: Uint8Array;
  configMediaType?: string;
  layers: readonly Layer[];
  artifactType?: string;
  /** The manifest that this one is about. */
  subject?: Descriptor;
  annotations?: Record<string, string>;
}): Buffer {
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    ...(options.artifactType === undefined ? {} : { artifactType: options.artifactType }),
    config: {
      mediaType: options.configMediaType ?? mediaTypes.config,
      digest: digestOf(options.config),
      size: options.config.byteLength,
    },
    layers: options.layers.map(({ mediaType, digest, sizeBytes }) => ({ mediaType, digest, size: sizeBytes })),
    ...(options.subject === undefined ? {} : { subject: options.subject }),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
  };
  return Buffer.from(JSON.stringify(manifest));
}

/** Node's name of a processor to that of OCI (GOARCH). */
export function ociArchitecture(arch: string = process.arch): string {
  return arch === 'x64' ? 'amd64' : arch;
}
