/**
 * Manifests of a repository, by tag or digest, and what points at them.
 */
import { digestOf, isDigest, parseDigest } from '#lib/digest.ts';
import { EngineError } from '../engine.ts';
import {
  type Descriptor,
  LARGEST_MANIFEST,
  type Manifest,
  MANIFEST_TYPES,
  OCI_INDEX,
  parseManifest,
} from '../images/manifest.ts';
import { isTag } from '../images/reference.ts';
import { findManifest, manifestsScope, referrersScope, repositoryOfManifests } from '../images/scopes.ts';
import { blobLink, requireDigest } from './blobs.ts';
import { mirroredTags, refreshed } from './mirrored.ts';
import { RegistryError } from './errors.ts';
import { answer, answerBytes, type Exchange, page, readBody } from './exchange.ts';

const MOST_TAGS = 100;
/** What clients send that do not say what they send. */
const VAGUE_TYPES = ['application/json', 'application/octet-stream', 'application/x-www-form-urlencoded'];

export async function getManifest(exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  await refreshed(exchange);
  const { digest, bytes, mediaType } = await acceptable(exchange, resolve(exchange));
  const headers = {
    'content-type': mediaType,
    'docker-content-digest': digest,
    etag: `"${digest}"`,
  };
  if (request.headers['if-none-match'] === headers.etag) {
    response.writeHead(304, headers).end();
    return;
  }
  answerBytes(exchange, headers, bytes);
}

export async function putManifest(exchange: Exchange): Promise<void> {
  const { content, request, repository, reference } = exchange;
  const named = isDigest(reference);
  if (!named && !isTag(reference)) {
    throw new RegistryError('MANIFEST_INVALID', 'the reference is neither a tag nor a digest', {
      detail: { reference },
    });
  }
  const tags = tagsToSet(exchange, named);
  const bytes = await readBody(exchange, LARGEST_MANIFEST);
  requireManifestType(request.headers['content-type']);
  const manifest = parse(bytes, request.headers['content-type']);
  const digest = digestOf(bytes, parseDigest(reference)?.algorithm ?? 'sha256');
  if (named && digest !== reference) {
    throw new RegistryError('DIGEST_INVALID', 'provided digest did not match uploaded content', {
      detail: { digest: reference, actual: digest },
    });
  }
  await requireContent(exchange, manifest);
  await content.write(bytes, { digest });
  const { subject } = manifest;
  const names = [content.setName(manifestsScope(repository), digest, digest)];
  if (subject !== undefined)
    names.push(content.setName(referrersScope(repository), `${subject.digest}@${digest}`, digest));
  for (const tag of tags) {
    // What loses its last tag is not forgotten at once: who has just read the tag may still fetch what it meant.
    content.touch(content.getName(repository, tag) ?? '');
    names.push(content.setName(repository, tag, digest));
  }
  await Promise.all(names);
  for (const pushed of named ? [reference, ...tags] : tags) exchange.pushed(repository, pushed, digest);
  answer(exchange, 201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(subject === undefined ? {} : { 'oci-subject': subject.digest }),
    ...(named && tags.length > 0 ? { 'oci-tag': tags.join(', ') } : {}),
  });
}

/** The tag of the path; of a push by digest those of the query (distribution-spec, end-7b). */
function tagsToSet({ reference, query }: Exchange, named: boolean): string[] {
  if (!named) return [reference];
  const tags = [...new Set(query.getAll('tag'))];
  if (tags.length > MOST_TAGS)
    throw new RegistryError('UNSUPPORTED', `more than ${MOST_TAGS} tags in one request`, { status: 414 });
  const wrong = tags.find((tag) => !isTag(tag));
  if (wrong !== undefined)
    throw new RegistryError('MANIFEST_INVALID', 'the tag is not well-formed', { detail: { tag: wrong } });
  return tags;
}

/** Types that say nothing are left to the document itself. */
function requireManifestType(header: string | undefined): void {
  const type = header?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === '' || VAGUE_TYPES.includes(type) || MANIFEST_TYPES.includes(type)) return;
  throw new RegistryError('MANIFEST_INVALID', `${JSON.stringify(type)} is no media type of a manifest`, {
    status: 415,
    detail: { supported: MANIFEST_TYPES },
  });
}

/**
 * The manifest in a form that the client takes. Who asks for a tag and knows no indexes is given the image for
 * linux/amd64 in it, as Docker's registry does; what cannot be given so is not there for this client.
 */
async function acceptable(
  exchange: Exchange,
  digest: string,
): Promise<{ digest: string; bytes: Buffer; mediaType: string }> {
  const { content, repository, reference, request } = exchange;
  content.touch(digest);
  const bytes = await content.readAll(digest);
  const manifest = parseManifest(bytes);
  const { mediaType } = manifest;
  const accept = request.headers.accept;
  if (accepts(accept, mediaType)) return { digest, bytes, mediaType };
  if (manifest.kind === 'index' && !isDigest(reference)) {
    const plain = manifest.manifests.find(
      ({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64',
    );
    const isFitting = plain !== undefined && accepts(accept, plain.mediaType);
    if (isFitting) await refreshed(exchange, plain.digest);
    if (isFitting && content.path(plain.digest) !== undefined) return await acceptable(exchange, plain.digest);
  }
  throw new RegistryError(
    'MANIFEST_UNKNOWN',
    `the manifest is there as ${mediaType}, which the client does not accept`,
    {
      detail: { name: repository, reference, accept },
    },
  );
}

/** RFC 9110, 12.5.1, without weights. A list that names no type of a manifest is not about manifests. */
function accepts(header: string | undefined, mediaType: string): boolean {
  const types = (header ?? '').split(',').map((type) => type.split(';')[0]?.trim().toLowerCase() ?? '');
  if (types.some((type) => type === mediaType || type === '*/*' || type === 'application/*')) return true;
  return !types.some(
    (type) => MANIFEST_TYPES.includes(type) || type.startsWith('application/vnd.docker.distribution.'),
  );
}

export async function deleteManifest(exchange: Exchange): Promise<void> {
  const { content, repository, reference } = exchange;
  const digest = resolve(exchange);
  if (!isDigest(reference)) {
    content.touch(digest);
    await content.setName(repository, reference, undefined);
    answer(exchange, 202);
    return;
  }
  for (const { name, digest: tagged } of content.names(repository)) {
    if (tagged === digest) await content.setName(repository, name, undefined);
  }
  for (const { name, digest: referrer } of content.names(referrersScope(repository))) {
    if (referrer === digest) await content.setName(referrersScope(repository), name, undefined);
  }
  await content.setName(manifestsScope(repository), digest, undefined);
  answer(exchange, 202);
}

export async function listTags(exchange: Exchange): Promise<void> {
  const { content, repository } = exchange;
  const theirs = await mirroredTags(exchange);
  const known = theirs !== undefined || content.names(manifestsScope(repository)).length > 0;
  if (!known)
    throw new RegistryError('NAME_UNKNOWN', 'repository name not known to registry', { detail: { name: repository } });
  const tags = theirs ?? content.names(repository).map(({ name }) => name);
  const { names, headers } = page(exchange, `/v2/${repository}/tags/list`, tags);
  answerJson(exchange, { name: repository, tags: names }, headers);
}

export async function listRepositories(exchange: Exchange): Promise<void> {
  const repositories = exchange.content.scopes().flatMap((scope) => repositoryOfManifests(scope) ?? []);
  const { names, headers } = page(exchange, '/v2/_catalog', repositories.sort());
  answerJson(exchange, { repositories: names }, headers);
}

export async function listReferrers(exchange: Exchange): Promise<void> {
  const { content, repository, reference: subject, query } = exchange;
  requireDigest(subject);
  const wanted = query.get('artifactType');
  const manifests: Descriptor[] = [];
  for (const { name, digest } of content.names(referrersScope(repository))) {
    if (!name.startsWith(`${subject}@`)) continue;
    const bytes = await content.readAll(digest);
    const manifest = parseManifest(bytes);
    const artifactType =
      manifest.artifactType ?? (manifest.kind === 'manifest' ? manifest.config.mediaType : undefined);
    if (wanted !== null && artifactType !== wanted) continue;
    const { mediaType, annotations } = manifest;
    manifests.push({
      mediaType,
      digest,
      size: bytes.length,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(annotations === undefined ? {} : { annotations }),
    });
  }
  answerJson(
    exchange,
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests },
    {
      'content-type': OCI_INDEX,
      ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }),
    },
  );
}

function answerJson(exchange: Exchange, value: unknown, headers: Record<string, string>): void {
  answerBytes(exchange, { 'content-type': 'application/json', ...headers }, Buffer.from(`${JSON.stringify(value)}\n`));
}

function resolve({ content, repository, reference }: Exchange): string {
  const digest = findManifest(content, repository, reference);
  if (digest === undefined || content.path(digest) === undefined) {
    throw new RegistryError('MANIFEST_UNKNOWN', 'manifest unknown', { detail: { name: repository, reference } });
  }
  return digest;
}

function parse(bytes: Buffer, contentType: string | undefined): Manifest {
  try {
    return parseManifest(bytes, contentType);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'invalid') throw error;
    throw new RegistryError('MANIFEST_INVALID', error.message, { cause: error });
  }
}

/** Everything that a manifest refers to is in its repository, and young again, so that no collection takes it now. */
async function requireContent(exchange: Exchange, manifest: Manifest): Promise<void> {
  const { content, repository } = exchange;
  const isIndex = manifest.kind === 'index';
  for (const part of isIndex ? manifest.manifests : [manifest.config, ...manifest.layers]) {
    if (isElsewhere(part)) continue;
    const here = isIndex
      ? content.getName(manifestsScope(repository), part.digest) !== undefined
      : blobLink(exchange, repository, part.digest);
    if (!here || !content.touch(part.digest)) {
      throw new RegistryError(
        'MANIFEST_BLOB_UNKNOWN',
        'manifest references a manifest or blob unknown to this repository',
        {
          detail: { name: repository, digest: part.digest },
        },
      );
    }
    const info = await content.stat(part.digest);
    if (info?.sizeBytes !== part.size) {
      throw new RegistryError(
        'MANIFEST_INVALID',
        `the manifest says ${part.size} bytes where the blob has ${info?.sizeBytes ?? 0}`,
        {
          detail: { digest: part.digest },
        },
      );
    }
  }
}

/** Layers that may not be passed on: they are fetched from where their descriptor says (image-spec layer.md). */
function isElsewhere({ mediaType }: Descriptor): boolean {
  return /^application\/vnd\.oci\.image\.layer\.nondistributable\.|^application\/vnd\.docker\.image\.rootfs\.foreign\./.test(
    mediaType,
  );
}
