/**
 * Requests of builds: through the host's proxies (`http_proxy`, `https_proxy`, `no_proxy`), after redirects. Who asks
 * bounds what it reads of the answer.
 */
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface HttpRequest {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: Uint8Array;
  /** PEM bundle besides Node's own. */
  ca?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  status: number;
  /** After redirects. */
  url: string;
  message: IncomingMessage;
}

export class AnswerTooLarge extends Error {
  constructor(url: string, most: number) {
    super(`GET ${url}: more than ${most} bytes`);
    this.name = 'AnswerTooLarge';
  }
}

const SILENCE = 30_000;
const REDIRECTS = 5;

/** Rejects with an `Error` that names the request where no answer comes. A POST is not sent on. */
export async function openHttp(url: string, options: HttpRequest = {}, redirects = REDIRECTS): Promise<HttpAnswer> {
  // Most builds ask nothing: loading this would take them a twentieth of a second.
  const [http, https] = await Promise.all([import('node:http'), import('node:https')]);
  const { method = 'GET', headers = {}, body, ca, signal } = options;
  const target = new URL(url);
  // The agents read http_proxy, https_proxy and no_proxy by themselves.
  const proxied = { keepAlive: false, proxyEnv: process.env };
  const plain = target.protocol === 'http:';
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = (plain ? http : https).request(
    target,
    {
      agent: plain ? new http.Agent(proxied) : new https.Agent({ ...proxied, ...(ca === undefined ? {} : { ca }) }),
      method,
      headers,
      timeout: SILENCE,
      ...(signal === undefined ? {} : { signal }),
    },
    resolve,
  );
  request.on('error', reject);
  request.on('timeout', () => request.destroy(new Error(`no byte for ${SILENCE / 1000} s`)));
  request.end(body);
  let message: IncomingMessage;
  try {
    message = await promise;
  } catch (error) {
    throw new Error(`${method} ${url}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const status = message.statusCode ?? 0;
  const { location } = message.headers;
  if (status < 300 || status > 399 || location === undefined || redirects === 0 || method === 'POST')
    return { status, url, message };
  message.resume();
  return await openHttp(new URL(location, url).href, options, redirects - 1);
}

/** The whole answer, in memory. */
export async function readHttp({ url, message }: HttpAnswer, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > most) throw new AnswerTooLarge(url, most);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The whole answer, in a file. */
export async function saveHttp({ url, message }: HttpAnswer, path: string, most: number): Promise<void> {
  let length = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      length += chunk.length;
      done(length > most ? new AnswerTooLarge(url, most) : null, chunk);
    },
  });
  await pipeline(message, bounded, createWriteStream(path));
}
