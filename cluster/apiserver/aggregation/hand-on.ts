/** A client's request to a server behind this one. */
import type { Core } from '../core.ts';
import { StatusError } from '../errors.ts';
import type { Exchange } from '../exchange.ts';
import { handOn, type HandedOn, servicePlace } from '../workload-proxy.ts';
import { AGGREGATOR, type RemoteApi, remoteHeaders } from './aggregation.ts';

/** The user must have been authorized. */
export async function aggregate(core: Core, exchange: Exchange, api: RemoteApi): Promise<void> {
  await handOn(exchange, placeOf(core, api, exchange));
}

/** Its documents are asked for in this server's own name: whoever reads ours may read them. */
export async function aggregateDocument(core: Core, exchange: Exchange, api: RemoteApi): Promise<void> {
  await handOn(exchange, placeOf(core, api, { ...exchange, user: AGGREGATOR }));
}

/** Throws 503 while it is not available. */
export function placeOf(core: Core, api: RemoteApi, { path, user }: Pick<Exchange, 'path' | 'user'>): HandedOn {
  if (!api.told.available) throw new StatusError(503, 'ServiceUnavailable', 'service unavailable');
  const { namespace, name, port } = api.service;
  const { host, port: number } = servicePlace(core, namespace, { secure: true, name, port: String(port) });
  return {
    secure: true,
    host,
    port: number,
    authority: `${name}.${namespace}.svc`,
    path,
    tls: api.tls,
    headers: remoteHeaders(user),
    onUnreachable: () => core.aggregation.doubted(api),
  };
}
