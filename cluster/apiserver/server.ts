/**
 * The Kubernetes API server: upstream's wire protocol over a store.
 *
 * - Writes are on disk, and shown by every read and watch of this server, before they are acknowledged.
 * - Reads never touch the store, but for pages and watches at revisions that memory no longer holds.
 * - A client that does not read its watch is dropped; it holds up nobody.
 * - Every error is a `Status` with upstream's reason and wording.
 *
 * One server writes to a store at a time: service addresses and the freshness of reads depend on it.
 */
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Transport } from '../client/transport.ts';
import { services } from '../kinds/resources.ts';
import type { Store } from '../store/store.ts';
import { Aggregation, type FrontProxy } from './aggregation/aggregation.ts';
import { Availability } from './aggregation/availability.ts';
import { createAuthenticationConfig, createLocalApiServices } from './aggregation/local.ts';
import { Admission } from './admission/plugin.ts';
import { type AdmissionOptions, admissionPlugins } from './admission/plugins.ts';
import { AgentDialer, type AgentIdentity } from './agent-dialer.ts';
import type { Audit } from './audit/observe.ts';
import { authenticate } from './authenticate.ts';
import { bootstrapTokens } from './authenticators/bootstrap-token.ts';
import { type OidcOptions, oidcTokens } from './authenticators/oidc.ts';
import { type ServiceAccountOptions, serviceAccountTokens } from './authenticators/service-account.ts';
import { type AuthenticateToken, firstOf } from './authenticators/token.ts';
import { createApiService, createSystemNamespaces, createSystemPriorities } from './bootstrap.ts';
import { Cache, kindPrefix } from './cache.ts';
import { answerClientError } from './client-error.ts';
import type { Core, Log } from './core.ts';
import { createFlowControlObjects } from './flow-control/ensure-objects.ts';
import { FlowControl, type FlowControlOptions } from './flow-control/flow-control.ts';
import { followDefinitions } from './custom-resources.ts';
import { ANONYMOUS, authenticated, sendError, type User } from './exchange.ts';
import { type Handler, handle } from './handle.ts';
import { httpExchange } from './http-exchange.ts';
import { inProcessTransport } from './in-process.ts';
import { TurnsByKey } from '#lib/turns.ts';
import { Metrics } from './metrics.ts';
import { NodeGraph } from './node-graph.ts';
import type { DefaultRole } from './rbac/default-roles.ts';
import { ensureDefaultRoles } from './rbac/ensure-defaults.ts';
import { RoleIndex } from './rbac/role-index.ts';
import { Registry } from './registry.ts';
import { ServiceAddresses } from './service-addresses.ts';
import { nodesHeardOf, readSummary } from './usage/summary.ts';
import { Usage } from './usage/usage.ts';
import { asStatusError } from './update.ts';
import { upgrade } from './upgrade.ts';

export interface ApiServerOptions extends AdmissionOptions {
  store: Store;
  /** To listen on. */
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** PEM. Client certificates of `clientCa` name a user (CN) and its groups (O). */
  tls: { certificate: string; key: string; clientCa: string };
  /** To dial node agents; their certificates must be for `system:node:<name>`. */
  agentClient: AgentIdentity;
  /** What this server is to those behind it (APIService). Without it they are asked without a certificate. */
  frontProxy?: FrontProxy;
  /** IPv4 range for Services, as `10.96.0.0/16`. Without it they get no address. */
  serviceCidr?: string;
  /** Of IPv6: Services may have addresses of both families. */
  serviceCidr6?: string;
  /** Where pods reach this server (IPv4): makes the Service `kubernetes` in `default` lead there. */
  advertiseAddress?: string;
  /** Issues and reads service account tokens, and gives pods their accounts. Without it there are none. */
  serviceAccounts?: ServiceAccountOptions;
  /** Made at start besides those of Kubernetes, and kept as those are. */
  clusterRoles?: readonly DefaultRole[];
  oidc?: readonly OidcOptions[];
  /** Notes who did what. The log is the caller's to close, after the server. */
  audit?: Audit;
  /** Reads what the others do not know. */
  authenticateToken?: (token: string) => Promise<User | undefined>;
  version?: { major: string; minor: string };
  log?: Log;
  /** Called when the store's watch broke: what the server shows is no longer true, and it has to be restarted. */
  onFailure?: (error: Error) => void;
  now?: () => number;
  /** How old what is told of the usage of nodes and pods may be, in milliseconds; default 15 seconds. */
  metricsResolution?: number;
  flowControl?: FlowControlOptions;
  /** For a request to arrive in, in milliseconds; default 60 seconds. */
  requestTimeout?: number;
}

export interface ApiServer {
  readonly port: number;
  /** `https://host:port`, with 127.0.0.1 where it listens on every address. */
  readonly url: string;
  /** In-process, as this user. */
  transport(user: { name: string; groups: string[] }): Transport;
  /** Ends every watch and connection. The store stays open: it is the caller's. */
  close(): Promise<void>;
}

const KEEP_ALIVE = 90_000;

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const core = await startCore(options);
  const flow = new FlowControl(core, options.flowControl);
  const handler: Handler = {
    core,
    flow,
    authenticateToken: authenticatorOf(core, options),
    serviceAccounts: options.serviceAccounts,
    audit: options.audit,
    version: versionInfo(options.version ?? { major: '1', minor: '30' }),
  };
  const requestTimeout = options.requestTimeout ?? 60_000;
  const server = createServer({
    cert: options.tls.certificate,
    key: options.tls.key,
    ca: options.tls.clientCa,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    keepAliveTimeout: KEEP_ALIVE,
    requestTimeout,
    headersTimeout: Math.min(30_000, requestTimeout),
    connectionsCheckingInterval: Math.min(10_000, requestTimeout),
    noDelay: true,
    // Who begins a connection and says nothing is cut off, and who is gone without a word is found out.
    handshakeTimeout: Math.min(15_000, requestTimeout),
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // Selectors come in the URL.
    maxHeaderSize: 64 * 1024,
    shouldUpgradeCallback: (request) => /websocket|spdy/i.test(request.headers.upgrade ?? ''),
  });
  server.on('request', (request, response) => {
    authenticate(request, handler)
      .then((identity) => {
        const exchange = httpExchange(request, response, identity);
        flow.run(exchange, () => handle(handler, exchange));
      })
      .catch((error: unknown) => sendError(httpExchange(request, response, { user: ANONYMOUS }), asStatusError(error)));
  });
  const upgraded = new Set<Duplex>();
  server.on('upgrade', (request, socket, head) => {
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
    void upgrade(handler, request, socket, head);
  });
  server.on('clientError', answerClientError);
  // A client that breaks off its handshake is no failure of ours.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.listen(options.port, options.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    await core.cache.close();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  if (options.advertiseAddress !== undefined) await createApiService(core, { address: options.advertiseAddress, port });
  const availability = new Availability(core);
  const ended = new AbortController();
  return {
    port,
    url: `https://${urlHost(options.host)}:${port}`,
    transport: (user) => inProcessTransport(handler, authenticated(user), ended.signal),
    async close() {
      core.closing = true;
      ended.abort();
      const closed = once(server, 'close');
      server.close();
      for (const socket of upgraded) socket.destroy();
      server.closeAllConnections();
      await closed;
      await availability.close();
      core.agents.close();
      await core.cache.close();
    },
  };
}

async function startCore(options: ApiServerOptions): Promise<Core> {
  const registry = new Registry();
  const cache = new Cache(options.store, (prefix) => registry.ofPrefix(prefix)?.selectableFields ?? {});
  const log: Log = options.log ?? (() => undefined);
  await cache.start((error) => {
    log('error', 'the watch of the store broke: restart the server', { error: String(error.cause ?? error) });
    options.onFailure?.(error);
  });
  const agents = new AgentDialer(cache, options.agentClient);
  const core: Core = {
    store: options.store,
    cache,
    registry,
    addresses: new ServiceAddresses(
      cache.resource(kindPrefix(services)),
      [options.serviceCidr ?? [], options.serviceCidr6 ?? []].flat(),
    ),
    turns: new TurnsByKey(),
    roles: new RoleIndex(cache),
    nodes: new NodeGraph(cache),
    admission: new Admission([]),
    agents,
    aggregation: new Aggregation(cache, options.frontProxy),
    usage: new Usage({
      nodeNames: () => nodesHeardOf(cache),
      summary: (node) => readSummary(agents, node),
      resolution: options.metricsResolution ?? 15_000,
      log,
    }),
    metrics: new Metrics(),
    log,
    now: options.now ?? Date.now,
    closing: false,
  };
  core.admission = new Admission(admissionPlugins(core, options));
  followDefinitions(core);
  await Promise.all([
    createLocalApiServices(core),
    createFlowControlObjects(core),
    createSystemNamespaces(core).then(() => createAuthenticationConfig(core, options.tls.clientCa, options.frontProxy)),
    createSystemPriorities(core),
    ensureDefaultRoles(core, options.clusterRoles),
  ]);
  return core;
}

function authenticatorOf(
  core: Core,
  { serviceAccounts, oidc, authenticateToken }: ApiServerOptions,
): AuthenticateToken {
  return firstOf([
    ...(serviceAccounts === undefined ? [] : [serviceAccountTokens(core, serviceAccounts)]),
    bootstrapTokens(core),
    ...(oidc ?? []).map((one) => oidcTokens(one, core.now)),
    async (token) => {
      const user = await authenticateToken?.(token);
      return user === undefined ? undefined : { user };
    },
  ]);
}

function versionInfo({ major, minor }: { major: string; minor: string }): object {
  return {
    major,
    minor,
    gitVersion: `v${major}.${minor}.0+sampan`,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: 'node',
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
