/** One request to a broker, and its answer as it came: bounded in size and time, and no other place than the broker's. */
import { randomUUID } from 'node:crypto';
import { request as requestHttp, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { outsideTls } from '#lib/authorities.ts';
import { AddressRefused } from '#lib/guarded-address.ts';
import { readBounded } from '#lib/read-bounded.ts';
import type { IsRoute } from '../resources/route-hosts.ts';
import { API_VERSION, type BrokerAccess, BrokerError, type BrokerNetwork } from './services.ts';

export interface BrokerCall {
  method: 'GET' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the broker's URL, encoded: `/v2/catalog`. */
  path: string;
  query?: Record<string, string | undefined>;
  body?: unknown;
  /** Guid of the user who is behind it. */
  by?: string;
  /** Bytes that the answer may have; default 1 MiB. */
  most?: number;
}

export interface BrokerResponse {
  status: number;
  reason: string;
  /** Undefined where it was too large, or no text. */
  text: string | undefined;
  /** Seconds. */
  retryAfter?: number;
}

export interface Transport {
  network: BrokerNetwork;
  isRoute: IsRoute;
  /** Where the cloud controller says what it is: brokers may want to know. */
  apiUrl: string;
}

const TIMEOUT = 60_000;
const MOST = 1024 * 1024;
const LONGEST_RETRY_SECONDS = 24 * 3600;

/**
 * @throws BrokerError when there was no answer: `orphan` says whether the request may have been read
 * @throws the signal's reason when it is aborted
 */
export async function callBroker(
  transport: Transport,
  access: BrokerAccess,
  call: BrokerCall,
  signal: AbortSignal,
): Promise<BrokerResponse> {
  const url = urlOf(access, call);
  const timeout = AbortSignal.timeout(transport.network.timeoutMilliseconds ?? TIMEOUT);
  let sent = false;
  try {
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const made = open(transport, url, {
      method: call.method,
      agent: false,
      auth: `${access.username}:${access.password}`,
      headers: headersOf(transport, call, body),
      signal: AbortSignal.any([signal, timeout]),
    });
    made.once('finish', () => {
      sent = true;
    });
    made.end(body);
    return await answerOf(made, call.most ?? MOST);
  } catch (cause) {
    signal.throwIfAborted();
    if (timeout.aborted) {
      throw new BrokerError('The request to the service broker timed out', {
        title: 'HttpClientTimeout',
        orphan: true,
        cause,
      });
    }
    const why = cause instanceof AddressRefused ? `: ${cause.message}` : '';
    throw new BrokerError(`The service broker could not be reached${why}: ${shown(access.url)}`, {
      title: 'ServiceBrokerApiUnreachable',
      orphan: sent,
      cause,
    });
  }
}

function urlOf({ url }: BrokerAccess, { path, query }: BrokerCall): URL {
  const whole = new URL(url.replace(/\/+$/, '') + path);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) whole.searchParams.set(name, value);
  }
  return whole;
}

function headersOf(transport: Transport, call: BrokerCall, body: Buffer | undefined): Record<string, string | number> {
  const identity = call.by === undefined ? undefined : Buffer.from(JSON.stringify({ user_id: call.by }));
  return {
    accept: 'application/json',
    'x-broker-api-version': API_VERSION,
    'x-broker-api-request-identity': randomUUID(),
    'x-api-info-location': `${transport.apiUrl.replace(/^https?:\/\//, '')}/v2/info`,
    ...(identity && { 'x-broker-api-originating-identity': `cloudfoundry ${identity.toString('base64')}` }),
    ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
  };
}

function open(transport: Transport, url: URL, options: RequestOptions): ClientRequest {
  const secure = url.protocol === 'https:';
  const request = secure ? requestHttps : requestHttp;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const { router, guard, own = [] } = transport.network;
  const ours = own.find((one) => new URL(one.url).origin === url.origin);
  if (ours !== undefined) return request(url, { ...options, port: ours.port, lookup: toLoopback });
  const port = Number(url.port) || (secure ? 443 : 80);
  if (router !== undefined && port === (secure ? router.https : router.http) && transport.isRoute(host)) {
    // The router is on this host, whatever the name says.
    return request(url, { ...options, lookup: toLoopback, ...(secure && { ca: router.ca, servername: host }) });
  }
  if (isIP(host) !== 0) guard.check(host);
  return request(url, { ...options, ...(secure && outsideTls()), lookup: guard.lookup });
}

const toLoopback: NonNullable<RequestOptions['lookup']> = (_host, options, callback) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
};

async function answerOf(request: ClientRequest, most: number): Promise<BrokerResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request.once('response', resolve);
  request.on('error', reject);
  // A broker that wants to speak another protocol has not answered.
  request.once('upgrade', (response, socket) => {
    socket.destroy();
    reject(new Error(`it answered with ${response.statusCode}, and another protocol`));
  });
  const response = await promise;
  let text: string | undefined;
  const tooLong = new Error(`it answered with more than ${most} bytes`);
  try {
    text = decoded(await readBounded(response, most, () => tooLong));
  } catch (error) {
    if (error !== tooLong) throw error;
  } finally {
    request.destroy();
  }
  const retryAfter = secondsOf(response.headers['retry-after']);
  return {
    status: response.statusCode ?? 0,
    reason: response.statusMessage ?? '',
    text,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  };
}

function decoded(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** A number of seconds, or a time. */
function secondsOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const seconds = /^\d{1,9}$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(LONGEST_RETRY_SECONDS, Math.max(1, Math.ceil(seconds))) : undefined;
}

/** Without a login that somebody put into it. */
function shown(url: string): string {
  const parsed = URL.parse(url);
  return parsed ? `${parsed.protocol}//${parsed.host}${parsed.pathname}` : 'its URL is none';
}
