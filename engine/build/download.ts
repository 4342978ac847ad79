/** Fetches what a Dockerfile or a client names by address. */
import { outsideTls } from '#lib/authorities.ts';
import { EngineError } from '../engine.ts';
import { BuildError } from './dockerfile/instruction.ts';

export interface Download {
  body: AsyncIterable<Uint8Array>;
  contentType: string;
  mtimeSeconds: number;
}

/** Of a server that says nothing. */
const ANSWER_MILLISECONDS = 60_000;

/** @throws EngineError `unavailable` where it cannot be reached, BuildError where the server refuses */
export async function download(url: string, signal: AbortSignal): Promise<Download> {
  if (!/^https?:\/\//i.test(url)) throw new BuildError(`${url}: only http and https addresses can be fetched`);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error('the server does not answer')), ANSWER_MILLISECONDS);
  let response: Response;
  try {
    outsideTls();
    response = await fetch(url, { signal: AbortSignal.any([signal, late.signal]) });
  } catch (error) {
    signal.throwIfAborted();
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new EngineError('unavailable', `cannot fetch ${url}: ${cause}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new BuildError(`cannot fetch ${url}: it answers ${response.status} ${response.statusText}`.trim());
  }
  const modified = Date.parse(response.headers.get('last-modified') ?? '');
  return {
    body: response.body as AsyncIterable<Uint8Array>,
    contentType: response.headers.get('content-type') ?? '',
    mtimeSeconds: Number.isNaN(modified) ? 0 : Math.floor(modified / 1000),
  };
}
