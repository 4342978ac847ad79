/** An API server of somebody else's behind ours: HTTPS in the test's process, believed by its front-proxy certificate alone. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { FrontProxy } from '#cluster/apiserver/aggregation/aggregation.ts';
import type { Client } from '#cluster/client/client.ts';
import { apiServices, endpointSlices, services } from '#cluster/kinds/resources.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { sourceAddress } from '#lib/source-address.ts';

export interface Asked {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
}

export interface AggregatedServer {
  group: string;
  version: string;
  port: number;
  /** For `caBundle`. */
  ca: string;
  /** What clients asked, through ours; not what ours asked by itself. */
  asked: Asked[];
  /** Closes its socket; `open` listens again at the same port. */
  close(): Promise<void>;
  open(): Promise<void>;
}

export interface ServedBehind {
  group: string;
  version: string;
  /** APIResources. */
  resources: object[];
  /** By the document's path. */
  documents?: Record<string, object>;
  handle(request: IncomingMessage, response: ServerResponse): void;
  upgrade?(request: IncomingMessage, socket: Duplex): void;
}

/** The authority and the certificate with which a test's API server says who asks. */
export async function frontProxyPair(): Promise<FrontProxy> {
  const authority = await createAuthority({ commonName: 'front-proxy', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'front-proxy-client', usages: ['client'], days: 1 });
  return { ...pair, ca: authority.certificate };
}

/** Listens for the Service `name` in `default`. */
export async function aggregatedServer(
  name: string,
  frontProxy: FrontProxy,
  { group, version, resources, documents = {}, handle, upgrade }: ServedBehind,
): Promise<AggregatedServer> {
  const authority = await createAuthority({ commonName: `${name}-ca`, days: 1 });
  const pair = await issueCertificate(authority, {
    commonName: name,
    dnsNames: [`${name}.default.svc`],
    usages: ['server'],
    days: 1,
  });
  const asked: Asked[] = [];
  const own: Record<string, object> = {
    [`/apis/${group}/${version}`]: {
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: `${group}/${version}`,
      resources,
    },
    ...documents,
  };
  /** Requests of ours, and of clients of ours, are those with its certificate; nobody else is answered. */
  const isOurs = (request: IncomingMessage): boolean =>
    (request.socket as TLSSocket).authorized &&
    (request.socket as TLSSocket).getPeerCertificate().subject.CN === 'front-proxy-client';
  const server = createServer(
    { cert: pair.certificate, key: pair.key, ca: frontProxy.ca, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      if (!isOurs(request)) {
        response.writeHead(401).end();
        return;
      }
      const path = (request.url ?? '').replace(/\?.*/, '');
      if (request.headers['x-remote-user'] !== 'system:aggregator')
        asked.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
      const document = own[path];
      if (document === undefined && path.startsWith('/openapi')) response.writeHead(404).end();
      else if (document === undefined) handle(request, response);
      else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
    },
  );
  server.on('upgrade', (request, socket) => {
    asked.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
    if (isOurs(request)) upgrade?.(request, socket);
    else socket.destroy();
  });
  let port = 0;
  const aggregated: AggregatedServer = {
    group,
    version,
    ca: authority.certificate,
    asked,
    get port() {
      return port;
    },
    async open() {
      server.listen(port, '0.0.0.0');
      await once(server, 'listening');
      ({ port } = server.address() as AddressInfo);
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  await aggregated.open();
  return aggregated;
}

/** A Service without a selector whose endpoint is the server. */
export async function createServiceFor(client: Client, name: string, { port }: AggregatedServer): Promise<void> {
  const metadata = { name, namespace: 'default' };
  await client.create(services, { metadata, spec: { ports: [{ name: 'https', port: 443, targetPort: port }] } });
  await client.create(endpointSlices, {
    metadata: { ...metadata, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    // The loopback's may be nobody's endpoint.
    endpoints: [{ addresses: [await sourceAddress()], conditions: { ready: true } }],
    ports: [{ name: 'https', port, protocol: 'TCP' }],
  });
}

export async function register(
  client: Client,
  service: string,
  { group, version, ca }: AggregatedServer,
): Promise<void> {
  await client.create(apiServices, {
    metadata: { name: `${version}.${group}` },
    spec: {
      group,
      version,
      groupPriorityMinimum: 1000,
      versionPriority: 15,
      service: { name: service, namespace: 'default' },
      caBundle: Buffer.from(ca).toString('base64'),
    },
  });
}
