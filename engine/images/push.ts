/** Sends an image to a registry (OCI distribution-spec 1.1, "Push"): layers and config that it lacks, then the manifest. */
import type { IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { EngineError, type PullProgress } from '../engine.ts';
import { type Descriptor, parseManifest } from './manifest.ts';
import { inParallel } from './pull.ts';
import { complaintOf, type RegistryClient } from './registry-client.ts';
import type { ContentStore } from './store.ts';

export interface PushRequest {
  content: ContentStore;
  repository: string;
  tag: string;
  /** The manifest's. */
  digest: string;
  /** By layer, other repositories of the same registry that probably have it. */
  sources?: ReadonlyMap<string, readonly string[]>;
  signal: AbortSignal;
  onProgress?: (progress: PullProgress) => void;
}

export async function pushImage(
  client: RegistryClient,
  request: PushRequest,
): Promise<{ digest: string; sizeBytes: number }> {
  const { content, repository, tag, digest, signal } = request;
  const bytes = await content.readAll(digest);
  const manifest = parseManifest(bytes);
  if (manifest.kind !== 'manifest') throw new EngineError('invalid', `${digest} is an index, not an image`);
  await inParallel(manifest.layers, async (layer) => await pushBlob(client, request, layer));
  await pushBlob(client, request, manifest.config);
  const response = await client.send(
    repository,
    {
      method: 'PUT',
      path: `/v2/${repository}/manifests/${tag}`,
      headers: { 'content-type': manifest.mediaType, 'content-length': String(bytes.length) },
      body: () => bytes,
    },
    signal,
  );
  await expect(response, [201], `the manifest of ${repository}:${tag}`);
  return { digest, sizeBytes: bytes.length };
}

async function pushBlob(client: RegistryClient, request: PushRequest, blob: Descriptor): Promise<void> {
  const { content, repository, signal, onProgress } = request;
  const { digest, size } = blob;
  const what = `blob ${digest} of ${repository}`;
  const found = await client.send(repository, { method: 'HEAD', path: `/v2/${repository}/blobs/${digest}` }, signal);
  found.resume();
  if (found.statusCode === 200) return onProgress?.({ digest, state: 'exists', current: size, total: size });
  if (found.statusCode !== 404) await expect(found, [404], what);
  const started = await start(client, request, digest);
  if (started.response.statusCode === 201) {
    started.response.resume();
    return onProgress?.({ digest, state: 'mounted', current: size, total: size, from: started.from });
  }
  await expect(started.response, [202], what);
  const location = started.response.headers.location;
  if (location === undefined) throw new EngineError('unavailable', `the registry gives no place for ${what}`);
  const path = `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
  onProgress?.({ digest, state: 'downloading', current: 0, total: size });
  const response = await client.send(
    repository,
    {
      method: 'PUT',
      path,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
      body: () => content.read(digest),
    },
    signal,
  );
  await expect(response, [201], what);
  onProgress?.({ digest, state: 'done', current: size, total: size });
}

/** Asks for the blob of a repository that has it; a registry that does not know it there opens an upload instead. */
async function start(
  client: RegistryClient,
  { repository, sources, signal }: PushRequest,
  digest: string,
): Promise<{ response: IncomingMessage; from: string }> {
  const from = sources?.get(digest)?.[0] ?? '';
  const path = `/v2/${repository}/blobs/uploads/`;
  const post = { method: 'POST', headers: { 'content-length': '0' } };
  if (from !== '') {
    const query = new URLSearchParams({ mount: digest, from });
    const response = await client.send(repository, { ...post, path: `${path}?${query}`, alsoPull: from }, signal);
    if (response.statusCode === 201 || response.statusCode === 202) return { response, from };
    response.resume();
  }
  return { response: await client.send(repository, { ...post, path }, signal), from };
}

async function expect(response: IncomingMessage, wanted: readonly number[], what: string): Promise<void> {
  const status = response.statusCode ?? 0;
  if (wanted.includes(status)) return void response.resume();
  const detail = complaintOf(await buffer(response).catch(() => Buffer.alloc(0)));
  const message = `the registry answers ${status} for ${what}${detail === '' ? '' : `: ${detail}`}`;
  if (status === 401 || status === 403)
    throw new EngineError('unauthorized', `${message}; check user name and password for this registry`);
  throw new EngineError('unavailable', message);
}
