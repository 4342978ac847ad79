/** One request on its way through the registry, and the ways to answer it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBounded } from '#lib/read-bounded.ts';
import type { PullThrough } from '../images/pull-through.ts';
import type { ContentStore } from '../images/store.ts';
import type { Caller } from './caller.ts';
import { RegistryError } from './errors.ts';

export type RegistryAction = 'pull' | 'push' | 'delete' | 'catalog';

export interface RegistryRequest {
  username?: string;
  password?: string;
  repository?: string;
  action: RegistryAction;
}

export interface Exchange {
  content: ContentStore;
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  /** Well-formed; `''` for routes that have none. */
  repository: string;
  /** The path's last part: a tag, a digest or an upload's id. */
  reference: string;
  caller: Caller;
  /** Of other registries; absent where none is mirrored. */
  cache?: PullThrough;
  pushed(repository: string, reference: string, digest: string): void;
}

export function answer(exchange: Exchange, status: number, headers: Record<string, string | number> = {}): void {
  exchange.response.writeHead(status, { 'content-length': 0, ...headers });
  exchange.response.end();
}

export function answerBytes(exchange: Exchange, headers: Record<string, string | number>, bytes: Buffer): void {
  exchange.response.writeHead(200, { 'content-length': bytes.length, ...headers });
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : bytes);
}

/** @throws RegistryError when the body is longer */
export async function readBody(exchange: Exchange, most: number): Promise<Buffer> {
  const tooLong = () => new RegistryError('SIZE_INVALID', `the manifest has more than ${most} bytes`, { status: 413 });
  return await readBounded(bodyOf(exchange), most, tooLong);
}

/** The request's body; leaving it early does not cut the connection, on which an answer is still to go out. */
export function bodyOf(exchange: Exchange): AsyncIterable<Buffer> {
  return { [Symbol.asyncIterator]: () => exchange.request.iterator({ destroyOnReturn: false }) };
}

/** Cuts a sorted list as `n` and `last` ask; the Link header leads to what is left. */
export function page(
  exchange: Exchange,
  path: string,
  sorted: readonly string[],
): { names: string[]; headers: Record<string, string> } {
  const last = exchange.query.get('last');
  const limit = exchange.query.get('n');
  if (limit !== null && !/^\d{1,9}$/.test(limit)) {
    throw new RegistryError('UNSUPPORTED', `query parameter n=${JSON.stringify(limit)} is no number from 0`, {
      status: 400,
    });
  }
  const rest = last === null ? sorted : sorted.filter((name) => name > last);
  const count = limit === null ? rest.length : Number(limit);
  const names = rest.slice(0, count);
  const end = names.at(-1);
  if (end === undefined || names.length === rest.length) return { names, headers: {} };
  return { names, headers: { link: `<${path}?n=${count}&last=${encodeURIComponent(end)}>; rel="next"` } };
}
