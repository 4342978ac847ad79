/**
 * Pushing blobs: whole in one request, whole after a session was opened, or in chunks that go on after a break
 * (distribution-spec 1.1, "Pushing blobs"). An upload's id is a secret of whoever opened it, so it is bound to nothing
 * else; the right to push is checked on the repository of every request.
 */
import { isDigestAlgorithm } from '#lib/digest.ts';
import { EngineError } from '../engine.ts';
import { isRepository } from '../images/reference.ts';
import { linksScope, repositoryOfLinks } from '../images/scopes.ts';
import { blobLink, requireDigest } from './blobs.ts';
import { RegistryError } from './errors.ts';
import { answer, bodyOf, type Exchange } from './exchange.ts';

export async function startUpload(exchange: Exchange): Promise<void> {
  const { content, query } = exchange;
  const mount = query.get('mount');
  if (mount !== null && (await tryMount(exchange, mount, query.get('from')))) return;
  const digest = query.get('digest');
  const algorithm = query.get('digest-algorithm');
  if (algorithm !== null && !isDigestAlgorithm(algorithm))
    throw new RegistryError('DIGEST_INVALID', `digest-algorithm ${JSON.stringify(algorithm)} is not sha256 or sha512`);
  if (digest !== null) requireDigest(digest);
  const id = await content.startUpload(digest === null ? 'client' : 'private');
  if (digest === null) {
    answer(exchange, 202, sessionHeaders(exchange, id, 0));
    return;
  }
  try {
    await append(exchange, id);
    await finish(exchange, id, digest);
  } finally {
    await content.cancelUpload(id);
  }
}

export async function patchUpload(exchange: Exchange): Promise<void> {
  const { reference: id } = exchange;
  const size = await append(exchange, id);
  answer(exchange, 202, sessionHeaders(exchange, id, size));
}

export async function putUpload(exchange: Exchange): Promise<void> {
  const { reference: id, query, request } = exchange;
  const digest = query.get('digest') ?? '';
  requireDigest(digest);
  if (request.headers['content-length'] !== '0') await append(exchange, id);
  await finish(exchange, id, digest);
}

export async function getUpload(exchange: Exchange): Promise<void> {
  const size = await sizeOf(exchange, exchange.reference);
  answer(exchange, 204, sessionHeaders(exchange, exchange.reference, size));
}

export async function deleteUpload(exchange: Exchange): Promise<void> {
  await sizeOf(exchange, exchange.reference);
  await exchange.content.cancelUpload(exchange.reference);
  answer(exchange, 204);
}

/**
 * Links a blob of another repository: of the one that is named, or, without a name, of any that the client may read.
 * Where that is not possible the client is given an upload instead.
 */
async function tryMount(exchange: Exchange, digest: string, from: string | null): Promise<boolean> {
  const { content, repository } = exchange;
  requireDigest(digest);
  if (!(await mayRead(exchange, digest, from)) || !content.touch(digest)) return false;
  await content.setName(linksScope(repository), digest, digest);
  answer(exchange, 201, blobHeaders(exchange, digest));
  return true;
}

async function mayRead(exchange: Exchange, digest: string, from: string | null): Promise<boolean> {
  const { caller, repository } = exchange;
  if (from !== null && !isRepository(from)) return false;
  // Docker's clients ask for a token for both repositories when they are told to.
  if (from !== null && !caller.knows('pull', from)) throw await caller.refusal('push', repository, [from]);
  const sources = from === null ? exchange.content.scopes().flatMap((scope) => repositoryOfLinks(scope) ?? []) : [from];
  for (const source of sources) {
    if (blobLink(exchange, source, digest) && (await caller.allows('pull', source))) return true;
  }
  return false;
}

async function append(exchange: Exchange, id: string): Promise<number> {
  const { content, request } = exchange;
  const size = await sizeOf(exchange, id);
  const start = parseContentRange(request.headers['content-range']) ?? size;
  if (start !== size) throw outOfOrder(exchange, id, size);
  try {
    return await content.appendUpload(id, start, bodyOf(exchange));
  } catch (error) {
    if (error instanceof EngineError && error.code === 'conflict') throw outOfOrder(exchange, id, size);
    throw error;
  }
}

/** Where the chunk begins; clients write `<start>-<end>`, and some as RFC 9110 has it. */
export function parseContentRange(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const [, start, end] = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/[\d*]{1,20})?$/.exec(header) ?? [];
  if (start === undefined || Number(end) < Number(start))
    throw new RegistryError('BLOB_UPLOAD_INVALID', `Content-Range ${JSON.stringify(header)} is not <start>-<end>`);
  return Number(start);
}

async function finish(exchange: Exchange, id: string, digest: string): Promise<void> {
  const { content, repository } = exchange;
  try {
    await content.finishUpload(id, digest);
  } catch (error) {
    if (error instanceof EngineError && error.code === 'invalid') {
      throw new RegistryError('DIGEST_INVALID', 'provided digest did not match uploaded content', {
        detail: { digest },
        cause: error,
      });
    }
    if (error instanceof EngineError && error.code === 'not-found') throw unknownUpload(id);
    throw error;
  }
  await content.setName(linksScope(repository), digest, digest);
  answer(exchange, 201, blobHeaders(exchange, digest));
}

async function sizeOf(exchange: Exchange, id: string): Promise<number> {
  const size = await exchange.content.uploadSize(id);
  if (size === undefined) throw unknownUpload(id);
  return size;
}

function blobHeaders({ repository }: Exchange, digest: string): Record<string, string> {
  return { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest };
}

function sessionHeaders({ repository }: Exchange, id: string, size: number): Record<string, string> {
  return {
    location: `/v2/${repository}/blobs/uploads/${id}`,
    range: `0-${Math.max(size - 1, 0)}`,
    'docker-upload-uuid': id,
  };
}

function unknownUpload(id: string): RegistryError {
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry', { detail: { uuid: id } });
}

function outOfOrder(exchange: Exchange, id: string, size: number): RegistryError {
  return new RegistryError('BLOB_UPLOAD_INVALID', `the upload goes on at byte ${size}`, {
    status: 416,
    headers: sessionHeaders(exchange, id, size),
  });
}
