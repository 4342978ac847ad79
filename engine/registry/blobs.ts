/**
 * Blobs of a repository. A blob can be read where it is linked: by its upload, or by a mount from a repository that the
 * client may pull from. Links are names in the content store (`:links/<repository>`), written after the blob and
 * before the client hears of it; a crash between the two leaves a blob without a link, which is sent again or collected.
 */
import { pipeline } from 'node:stream/promises';
import { isDigest } from '#lib/digest.ts';
import { linksScope } from '../images/scopes.ts';
import { answerMirroredBlob } from './mirrored.ts';
import { RegistryError } from './errors.ts';
import { answer, type Exchange } from './exchange.ts';

export function blobLink(exchange: Exchange, repository: string, digest: string): boolean {
  return exchange.content.getName(linksScope(repository), digest) !== undefined;
}

export async function getBlob(exchange: Exchange): Promise<void> {
  const { content, request, response, repository, reference: digest } = exchange;
  requireDigest(digest);
  // Who is told that a blob is here does not send it: it must stay until the manifest comes. Looked at first and touched
  // then, it could be collected between the two.
  const isHere = blobLink(exchange, repository, digest) && content.touch(digest);
  const headers: Record<string, string | number> = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    etag: `"${digest}"`,
    'accept-ranges': 'bytes',
    'cache-control': 'max-age=31536000',
  };
  if (!isHere && (await answerMirroredBlob(exchange, headers))) return;
  const info = isHere || blobLink(exchange, repository, digest) ? await content.stat(digest) : undefined;
  if (info === undefined) throw unknownBlob(repository, digest);
  if (request.method === 'HEAD') {
    answer(exchange, 200, { ...headers, 'content-length': info.sizeBytes });
    return;
  }
  if (request.headers['if-none-match'] === headers['etag']) {
    response.writeHead(304, headers).end();
    return;
  }
  const range = parseRange(request.headers.range, info.sizeBytes);
  if (range === undefined) {
    response.writeHead(200, { ...headers, 'content-length': info.sizeBytes });
  } else {
    response.writeHead(206, {
      ...headers,
      'content-length': range.end - range.start + 1,
      'content-range': `bytes ${range.start}-${range.end}/${info.sizeBytes}`,
    });
  }
  if (info.sizeBytes === 0) {
    response.end();
    return;
  }
  const source = await content.read(digest, range);
  try {
    await pipeline(source, response);
  } finally {
    // Where the client had gone before the first byte, nothing was piped and nobody else closes the file.
    source.destroy();
  }
}

export async function deleteBlob(exchange: Exchange): Promise<void> {
  const { content, repository, reference: digest } = exchange;
  requireDigest(digest);
  if (!blobLink(exchange, repository, digest)) throw unknownBlob(repository, digest);
  await content.setName(linksScope(repository), digest, undefined);
  answer(exchange, 202);
}

export function requireDigest(digest: string): void {
  if (!isDigest(digest)) {
    throw new RegistryError('DIGEST_INVALID', 'the digest is not sha256:<64 hex digits> or sha512:<128 hex digits>', {
      detail: { digest },
    });
  }
}

function unknownBlob(repository: string, digest: string): RegistryError {
  return new RegistryError('BLOB_UNKNOWN', 'blob unknown to this repository', { detail: { name: repository, digest } });
}

/**
 * One range of bytes (RFC 9110, 14.1.2). Several, or what is no range of bytes, means the whole, as the RFC allows; one
 * that ends before it begins is refused.
 */
export function parseRange(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return undefined;
  const start = first === '' ? Math.max(size - Number(last), 0) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start > end || (first === '' && Number(last) === 0)) {
    throw new RegistryError('SIZE_INVALID', `the range is not in the blob's ${size} bytes`, {
      status: 416,
      headers: { 'content-range': `bytes */${size}` },
    });
  }
  return { start, end };
}
