/** An image of the registry as an OCI image layout (image-spec image-layout.md) in a tar, streamed blob by blob. */
import { digestOf } from '#lib/digest.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { CREATED_SECONDS, type Descriptor, type Manifest, mediaTypes } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';

/** Rejects before the first byte where the image is not there. */
export async function writeArchive(registry: RegistryClient, image: string): Promise<AsyncIterable<Uint8Array>> {
  const parsed = registry.parse(image);
  const stored = parsed && (await registry.getManifest(parsed.repository, parsed.digest));
  if (!parsed || !stored)
    throw new StagingError('registry', `droplet ${image} is not in the registry: push the app again`);
  const manifest = JSON.parse(stored.body.toString('utf8')) as Manifest;
  const entries = layoutEntries(registry, parsed.repository, {
    body: stored.body,
    manifest,
    mediaType: stored.mediaType,
  });
  return writeTar(entries);
}

async function* layoutEntries(
  registry: RegistryClient,
  repository: string,
  image: { body: Buffer; manifest: Manifest; mediaType: string },
): AsyncGenerator<TarInput> {
  const { body, manifest } = image;
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ mediaType: image.mediaType || mediaTypes.manifest, digest: digestOf(body), size: body.byteLength }],
  };
  // What says where the rest is comes first: who reads it needs no second pass.
  yield file('oci-layout', Buffer.from(JSON.stringify({ imageLayoutVersion: '1.0.0' })));
  yield file('index.json', Buffer.from(JSON.stringify(index)));
  yield directory('blobs');
  yield directory('blobs/sha256');
  yield file(blobName(digestOf(body)), body);
  const sent = new Set<string>();
  for (const blob of [manifest.config, ...manifest.layers]) {
    if (sent.has(blob.digest)) continue;
    sent.add(blob.digest);
    yield await blobEntry(registry, repository, blob);
  }
}

async function blobEntry(registry: RegistryClient, repository: string, blob: Descriptor): Promise<TarInput> {
  const data = await registry.readBlob(repository, blob.digest);
  if (data === undefined) throw new StagingError('registry', `registry lost blob ${blob.digest} of ${repository}`);
  return { ...common, name: blobName(blob.digest), type: 'file', mode: 0o644, sizeBytes: blob.size, data };
}

const common = { uid: 0, gid: 0, mtimeSeconds: CREATED_SECONDS };

function file(name: string, data: Buffer): TarInput {
  return { ...common, name, type: 'file', mode: 0o644, sizeBytes: data.byteLength, data };
}

function directory(name: string): TarInput {
  return { ...common, name, type: 'directory', mode: 0o755, sizeBytes: 0 };
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}
