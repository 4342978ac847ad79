/** Starts the cloud controller: informers, defaults, HTTP listener, slow sweeps. */
import { rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Logs } from '../logs/logs.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Informers } from '../resources/informers.ts';
import type { BrokerNetwork } from '../services/services.ts';
import { registerOwnBrokers } from '../services/own-brokers.ts';
import { startServices } from '../services/start.ts';
import type { SshAccess } from '../ssh/ssh.ts';
import type { Staging } from '../staging/staging.ts';
import type { TokenVerifier } from '../uaa/uaa.ts';
import { Access } from './access.ts';
import type { Context, Defaults, SshFacts, Urls } from './api.ts';
import { Audit } from './audit.ts';
import { ensureDefaults, resumeDeletions, resumeMoves } from './bootstrap.ts';
import { tellBuilds } from './build-events.ts';
import { Flags } from './flags.ts';
import { Jobs } from './jobs.ts';
import { RateLimiter } from './rate-limits.ts';
import { Records } from './records.ts';
import { type Holder, Reservations } from './reservations.ts';
import { createServer } from './server.ts';
import { sshAccess } from './ssh-access.ts';
import { endpointTable } from './table.ts';
import { Usage } from './usage/usage.ts';

export interface StartCloudControllerOptions {
  /** Shared with the workload controllers; its client writes. The definitions must be installed. */
  informers: Informers;
  tokens: TokenVerifier;
  staging: Staging;
  /** How service brokers are reached. */
  brokers: BrokerNetwork;
  logs: Logs;
  /** What instances use, as the bus tells it. */
  metrics?: Pick<Metrics, 'useOf' | 'refresh' | 'forget' | 'routeUse'>;
  /** Default domain of apps: `sampan.localhost`. */
  domain: string;
  urls: Urls;
  ssh?: SshFacts;
  /** Uploads are kept in `<dataDirectory>/uploads` while they come in; emptied at start. */
  dataDirectory: string;
  host?: string;
  /** 0 picks a free one. */
  port: number;
  version: string;
  defaults?: Partial<Defaults>;
  /** Made at first start; default `default` and `dev`. */
  organization?: string;
  space?: string;
  /** Ports of the router for TCP routes; default: none. */
  tcpPorts?: () => readonly number[];
  /** Hosts of the default domain that no app may take, besides the well-known ones. */
  reservedHosts?: string[];
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RunningCloudController {
  readonly port: number;
  /** May the bearer of this token read the logs of this app? For the log cache. Rejects when the token is not valid. */
  readsLogs(authorization: string, app: string): Promise<boolean>;
  /** For the ssh proxy. */
  readonly sshAccess: SshAccess;
  /** The context of the endpoints: for the generated reference and tests. */
  readonly context: Context;
  close(): Promise<void>;
}

const DEFAULTS: Defaults = {
  memoryMb: 256,
  diskMb: 1024,
  healthCheckTimeout: 60,
  stagingMemoryMb: 2048,
  stagingDiskMb: 4096,
  stagingTimeoutSeconds: 900,
  stack: 'sampan',
};
const RESERVED = ['api', 'uaa', 'login', 'log-cache', 'log-stream', 'doppler', 'ssh', 'console', 'registry', 'tcp'];
/** As log-cache has it. */
const READS_ALL_LOGS = new Set(['doppler.firehose', 'logs.admin']);
const SWEEP_MILLISECONDS = 10 * 60_000;

export async function startCloudController(options: StartCloudControllerOptions): Promise<RunningCloudController> {
  const { informers, log } = options;
  const temporaryDirectory = join(options.dataDirectory, 'uploads');
  await Promise.all([informers.synced(), rm(temporaryDirectory, { recursive: true, force: true })]);
  const records = new Records(informers);
  const collections = {
    organization: records.organizations,
    space: records.spaces,
    organization_quota: records.organizationQuotas,
    space_quota: records.spaceQuotas,
    domain: records.domains,
    buildpack: records.buildpacks,
    security_group: records.securityGroups,
    app: records.apps,
    package: records.packages,
    droplet: records.droplets,
    route: records.routes,
    role: records.roles,
  } as const;
  const holders: Record<string, { get(guid: string): unknown }> = {
    organizations: records.organizations,
    spaces: records.spaces,
    isolationsegments: records.isolationSegments,
    organizationquotas: records.organizationQuotas,
    spacequotas: records.spaceQuotas,
    domains: records.domains,
    apps: records.apps,
    routes: records.routes,
    securitygroups: records.securityGroups,
    serviceinstances: records.serviceInstances,
    servicebrokers: records.serviceBrokers,
  };
  const base: Omit<Context, 'services'> = {
    client: informers.client,
    records,
    reservations: new Reservations({
      client: informers.client,
      exists: (holder: Holder) => holders[holder.resource]?.get(holder.name) !== undefined,
    }),
    access: new Access(records),
    flags: new Flags(records),
    audit: new Audit(records, log),
    usage: new Usage(records, log),
    rates: new RateLimiter(informers.client, {
      onError: (error) => log('warn', 'The rate limits could not be read', { error }),
    }),
    jobs: new Jobs({
      exists: (operation, guid) => {
        const kind = operation.split('.')[0] ?? '';
        return collections[kind as keyof typeof collections]?.get(guid) !== undefined;
      },
      log,
    }),
    logs: options.logs,
    ...(options.metrics && { metrics: options.metrics }),
    staging: options.staging,
    urls: options.urls,
    domain: options.domain,
    reservedHosts: [...RESERVED, ...(options.reservedHosts ?? [])],
    tcpPorts: options.tcpPorts ?? (() => []),
    defaults: { ...DEFAULTS, ...options.defaults },
    version: options.version,
    ...(options.ssh ? { ssh: options.ssh } : {}),
    temporaryDirectory,
    log,
    now: Date.now,
  };
  const context: Context = { ...base, services: startServices(base, options.brokers) };
  await registerOwnBrokers(context, options.brokers.own ?? []);
  await ensureDefaults(context, { organization: options.organization ?? 'default', space: options.space ?? 'dev' });
  context.usage.start();
  const stopTelling = tellBuilds(context);
  await resumeMoves(context);
  await resumeDeletions(context);
  const server = createServer(context, endpointTable(context), options.tokens);
  await server.listen({ host: options.host ?? '127.0.0.1', port: options.port });
  const sweep = setInterval(() => {
    sweepOnce(context).catch((error: unknown) => log('warn', 'A sweep failed', { error }));
  }, SWEEP_MILLISECONDS);
  sweep.unref();
  return {
    port: (server.server.address() as AddressInfo).port,
    context,
    sshAccess: sshAccess(context),
    readsLogs: async (authorization, app) => {
      const identity = await options.tokens.verify(authorization);
      const object = records.apps.get(app);
      const space = object && records.spaceOf(object);
      if (identity.reads !== 'own' || identity.scopes.some((scope) => READS_ALL_LOGS.has(scope))) return true;
      return space !== undefined && context.access.readsSpace(identity, space);
    },
    close: async () => {
      clearInterval(sweep);
      stopTelling();
      await server.close();
      context.jobs.stop();
      await context.services.close();
      await context.jobs.idle();
      await context.usage.close();
      context.rates.close();
    },
  };
}

async function sweepOnce(context: Context): Promise<void> {
  await resumeMoves(context);
  await context.reservations.sweep(context.records.reservations.all());
  await context.audit.sweep(context.now());
  await context.usage.sweep(context.now());
}
