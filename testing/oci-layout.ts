/**
 * Images made by the tests themselves: an OCI image layout (image-spec image-layout.md) on disk, for skopeo to read.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';

export interface LayoutImage {
  tag: string;
  /** Uncompressed archives, bottom first. */
  layers: Uint8Array[];
  compression?: 'gzip' | 'zstd' | 'none';
  /** The `config` part of the image's configuration. */
  config?: Record<string, unknown>;
  architecture?: string;
}

/** @returns the digests that the image has in the layout */
export async function writeOciLayout(
  directory: string,
  image: LayoutImage,
): Promise<{ manifestDigest: string; configDigest: string; layerDigests: string[]; diffIds: string[] }> {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (bytes: Uint8Array): Promise<{ digest: string; size: number }> => {
    const digest = digestOf(bytes);
    await writeFile(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { digest, size: bytes.byteLength };
  };
  const architecture = image.architecture ?? (process.arch === 'x64' ? 'amd64' : process.arch);
  const compression = image.compression ?? 'gzip';
  const diffIds = image.layers.map((layer) => digestOf(layer));
  const config = await put(
    Buffer.from(
      JSON.stringify({
        created: '2024-01-02T03:04:05Z',
        architecture,
        os: 'linux',
        config: image.config ?? {},
        rootfs: { type: 'layers', diff_ids: diffIds },
        history: image.layers.map((_, index) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${index}` })),
      }),
    ),
  );
  const layers = [];
  for (const layer of image.layers) {
    const bytes = compression === 'gzip' ? gzipSync(layer) : compression === 'zstd' ? zstdCompressSync(layer) : layer;
    const suffix = compression === 'none' ? '' : `+${compression}`;
    layers.push({ mediaType: `application/vnd.oci.image.layer.v1.tar${suffix}`, ...(await put(bytes)) });
  }
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers,
      }),
    ),
  );
  await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType, ...manifest, annotations: { 'org.opencontainers.image.ref.name': image.tag } }],
  };
  await writeFile(join(directory, 'index.json'), JSON.stringify(index));
  return {
    manifestDigest: manifest.digest,
    configDigest: config.digest,
    layerDigests: layers.map(({ digest }) => digest),
    diffIds,
  };
}

/** An archive in memory from entries that say only what matters. */
export async function tarOf(entries: readonly (Partial<TarInput> & { name: string })[]): Promise<Buffer> {
  const inputs = entries.map((entry): TarInput => {
    const type = entry.type ?? 'file';
    const data = entry.data instanceof Uint8Array ? entry.data : Buffer.alloc(0);
    return {
      type,
      mode: type === 'directory' ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtimeSeconds: 1_700_000_000,
      sizeBytes: data.byteLength,
      ...entry,
    };
  });
  return await Array.fromAsync(writeTar(inputs, { encoding: 'latin1' })).then((chunks) => Buffer.concat(chunks));
}

/** A root file system of one static busybox with its usual commands, for containers that run a shell. */
export async function busyboxLayer(): Promise<Buffer> {
  const commands = [
    'sh',
    'cat',
    'echo',
    'sleep',
    'ls',
    'id',
    'env',
    'wget',
    'httpd',
    'true',
    'false',
    'kill',
    'ps',
    'dd',
    'stat',
  ];
  const directories = ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', 'var'];
  return await tarOf([
    ...directories.map((name) => ({ name, type: 'directory' as const, mode: name === 'tmp' ? 0o1777 : 0o755 })),
    { name: 'bin/busybox', mode: 0o755, data: await readFile('/bin/busybox') },
    ...commands.map((name) => ({ name: `bin/${name}`, type: 'symlink' as const, linkName: 'busybox', mode: 0o777 })),
    {
      name: 'etc/passwd',
      data: Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'),
    },
    { name: 'etc/group', data: Buffer.from('root:x:0:\nnogroup:x:65534:\n') },
  ]);
}
