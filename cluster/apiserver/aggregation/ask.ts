/** One request of this server itself to a server behind it. */
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { readBounded } from '#lib/read-bounded.ts';
import type { Core } from '../core.ts';
import { servicePlace } from '../workload-proxy.ts';
import { AGGREGATOR, type RemoteApi, remoteHeaders } from './aggregation.ts';

const RESPONSE_LIMIT = 16 * 1024 * 1024;

export class Unexpected extends Error {
  readonly status: number;
  constructor(status: number, url: string) {
    super(`bad status from ${url}: ${status}`);
    this.name = 'Unexpected';
    this.status = status;
  }
}

/** What it answers with 2xx, as JSON. Rejects with `Unexpected` for another status. */
export async function askRemote<T>(core: Core, api: RemoteApi, path: string, signal: AbortSignal): Promise<T> {
  const { namespace, name, port } = api.service;
  const place = servicePlace(core, namespace, { secure: true, name, port: String(port) });
  const url = `https://${place.host}:${place.port}${path}`;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = https.request({
    ...api.tls,
    agent: false,
    host: place.host,
    port: place.port,
    path,
    signal,
    headers: { ...remoteHeaders(AGGREGATOR), host: `${name}.${namespace}.svc`, accept: 'application/json' },
  });
  request.on('response', resolve);
  request.on('error', reject);
  request.end();
  const response = await promise;
  const tooLong = () => new Error(`the answer from ${url} has more than ${RESPONSE_LIMIT} bytes`);
  const text = await readBounded(response, RESPONSE_LIMIT, tooLong);
  const { statusCode = 0 } = response;
  if (statusCode < 200 || statusCode >= 300) throw new Unexpected(statusCode, url);
  return JSON.parse(text.toString()) as T;
}
