/** Requests for repositories that are another registry's: see `../images/pull-through.ts`. */
import { pipeline } from 'node:stream/promises';
import { EngineError } from '../engine.ts';
import { RegistryError } from './errors.ts';
import { answer, type Exchange } from './exchange.ts';

/** Runs before the store is looked at, for a manifest by tag or digest. */
export async function refreshed(exchange: Exchange, reference = exchange.reference): Promise<void> {
  const { cache, repository } = exchange;
  await fromUpstream(exchange, async (signal) => await cache?.refresh(repository, reference, signal));
}

/** Upstream's tags; undefined for repositories of our own. */
export async function mirroredTags(exchange: Exchange): Promise<string[] | undefined> {
  const { cache, repository } = exchange;
  if (cache?.covers(repository) !== true) return undefined;
  return await fromUpstream(exchange, async (signal) => await cache.tags(repository, signal));
}

/**
 * Answers for a blob that is not here, from upstream while it is stored; false where it is to be served from the store
 * after all, or is nowhere. A part of it is served when the whole is here.
 */
export async function answerMirroredBlob(
  exchange: Exchange,
  headers: Record<string, string | number>,
): Promise<boolean> {
  const { cache, repository, reference: digest, request, response } = exchange;
  if (cache?.covers(repository) !== true) return false;
  return await fromUpstream(exchange, async (signal) => {
    const size = await cache.blobSize(repository, digest, signal);
    if (request.method === 'HEAD') {
      answer(exchange, 200, { ...headers, 'content-length': size });
      return true;
    }
    if (request.headers.range !== undefined || request.headers['if-none-match'] !== undefined || size === 0) {
      await cache.fetch(repository, { digest, size }, { signal });
      return false;
    }
    response.writeHead(200, { ...headers, 'content-length': size });
    await pipeline(cache.stream(repository, { digest, size }, signal), response);
    return true;
  });
}

/** Nobody writes to what is upstream's. */
export function requireOwn({ cache, repository }: Exchange): void {
  if (cache?.covers(repository) !== true) return;
  throw new RegistryError('UNSUPPORTED', 'the repository mirrors another registry: push there', {
    detail: { name: repository },
  });
}

/** What is asked of upstream ends with its client; its failures are told in the registry's words. */
async function fromUpstream<Result>(
  { cache, repository, response }: Exchange,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const gone = new AbortController();
  const leave = (): void => gone.abort(new EngineError('unavailable', 'the client has gone'));
  response.on('close', leave);
  try {
    return await work(gone.signal);
  } catch (error) {
    if (cache?.covers(repository) !== true || !(error instanceof EngineError)) throw error;
    throw refusalOf(error, repository);
  } finally {
    response.off('close', leave);
  }
}

function refusalOf(error: EngineError, repository: string): EngineError | RegistryError {
  const options = { detail: { name: repository }, cause: error };
  if (error.code === 'not-found') return new RegistryError('NAME_UNKNOWN', `upstream: ${error.message}`, options);
  // The client's own credentials are good; those that the mirror has upstream are not, or there is no such repository.
  if (error.code === 'unauthorized') return new RegistryError('DENIED', `upstream: ${error.message}`, options);
  if (error.code === 'unavailable' || error.code === 'invalid')
    return new RegistryError('UNKNOWN', `upstream: ${error.message}`, { ...options, status: 502 });
  return error;
}
