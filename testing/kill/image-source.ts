/** A registry with any number of small images, each of content that nobody has seen before. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openContentStore } from '#engine/images/content.ts';
import { linksScope, manifestsScope } from '#engine/images/scopes.ts';
import type { ContentStore } from '#engine/images/store.ts';
import { startRegistry } from '#engine/registry/server.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { writeTar } from '#lib/tar/write.ts';
import type { Random } from './random.ts';

export interface ImageSource extends AsyncDisposable {
  host: string;
  /** PEM of the authority that signs the registry's certificate. */
  ca: string;
  /** @returns its reference; each of its layers holds one file, `content-N`, whose digest is in `contents` */
  add(name: string, random: Random): Promise<string>;
  contents: Map<string, string[]>;
}

const LAYERS = 3;
const REPOSITORY = 'fresh';

export async function startImageSource(): Promise<ImageSource> {
  const directory = await mkdtemp(join(tmpdir(), 'image-source-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  const content = openContentStore(directory);
  const registry = await startRegistry({
    content,
    listen: { host: '127.0.0.1', port: 0 },
    tls: { cert: pair.certificate, key: pair.key },
    authorize: () => true,
    onError: (error) => console.error(error),
  });
  const host = `127.0.0.1:${registry.port}`;
  const contents = new Map<string, string[]>();
  return {
    host,
    ca: authority.certificate,
    contents,
    async add(name, random) {
      const reference = `${host}/${REPOSITORY}:${name}`;
      contents.set(reference, await addImage(content, name, random));
      return reference;
    },
    async [Symbol.asyncDispose]() {
      await registry.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function addImage(content: ContentStore, tag: string, random: Random): Promise<string[]> {
  const put = async (bytes: Uint8Array): Promise<{ digest: string; size: number }> => {
    const { digest, sizeBytes } = await content.write(bytes, {});
    await content.setName(linksScope(REPOSITORY), digest, digest);
    return { digest, size: sizeBytes };
  };
  const files: string[] = [];
  const diffIds: string[] = [];
  const layers = [];
  for (let index = 0; index < LAYERS; index += 1) {
    const data = Buffer.alloc(64 * 1024 + random.below(512 * 1024), `${tag} ${index} ${random.below(2 ** 32)}`);
    files.push(digestOf(data));
    const common = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 0 };
    const file = { ...common, name: `content-${index}`, type: 'file', sizeBytes: data.length, data } as const;
    const bytes = Buffer.concat(await Array.fromAsync(writeTar([file])));
    diffIds.push(digestOf(bytes));
    layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...(await put(bytes)) });
  }
  const document = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Cmd: ['none'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    ...(await put(Buffer.from(JSON.stringify(document)))),
  };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await put(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers })));
  await content.setName(manifestsScope(REPOSITORY), manifest.digest, manifest.digest);
  await content.setName(REPOSITORY, tag, manifest.digest);
  return files;
}
