/**
 * The cloud controller's contract: Cloud Foundry's API v3 as a table of endpoints over the platform's custom resources.
 *
 * An endpoint is data (method, path, who may call it, one sentence) and a handler. Handlers read from informers and write
 * through `Records`, which waits until the informer has each write: a client reads its own writes. They check what the
 * caller may do by explicit calls of `Access`; they throw `CloudFoundryError`, which the server turns into Cloud Foundry's
 * error JSON. No handler sees Fastify, except through `raw` for uploads.
 *
 * What is unique (an app's name in its space, a route, …) is held by a `Reservation` made first. Writes of several objects
 * are in an order that leaves nothing wrong behind when they stop anywhere: what nothing points to yet comes first, the
 * object that makes it count comes last.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Client } from '#cluster/client/client.ts';
import type { Logs } from '../logs/logs.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Services } from '../services/services.ts';
import type { Staging } from '../staging/staging.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { Access } from './access.ts';
import type { Audit } from './audit.ts';
import type { Flags } from './flags.ts';
import type { Jobs } from './jobs.ts';
import type { RateLimiter } from './rate-limits.ts';
import type { Records } from './records.ts';
import type { Reservations } from './reservations.ts';
import type { Usage } from './usage/usage.ts';

export type Json = Record<string, unknown>;

/** `none`: open to everybody; `user`: any valid token, the handler asks `Access`; `admin`: `cloud_controller.admin` only. */
export type EndpointAuth = 'none' | 'user' | 'admin';

export interface Endpoint {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/v3/apps/:guid`. */
  path: string;
  auth: EndpointAuth;
  /** Of tokens, besides `cloud_controller.read` or `cloud_controller.write`: opens this one too. */
  scope?: string;
  /** For the reference page: one sentence, imperative. */
  summary: string;
  /** For the reference page: what is missing of it. */
  partial?: string;
  /** The body is left unread for the handler (uploads). */
  rawBody?: boolean;
  handle: (request: ApiRequest) => Reply | Promise<Reply>;
}

export interface ApiRequest {
  /** From the path. */
  params: Record<string, string>;
  query: URLSearchParams;
  method: string;
  /** Path without the query. */
  path: string;
  headers: IncomingHttpHeaders;
  /** Parsed JSON (an object), the text of a YAML body, or `{}` where there is none. */
  body: Json;
  text: string;
  identity: Identity;
  raw: IncomingMessage;
  signal: AbortSignal;
}

export interface Reply {
  status: number;
  /** JSON, or text, bytes and streams with `type`. */
  body?: unknown;
  stream?: Readable;
  type?: string;
  headers?: Record<string, string>;
}

export interface Urls {
  /** `https://api.DOMAIN[:port]`, no trailing slash; likewise the others. */
  api: string;
  uaa: string;
  login: string;
  logCache: string;
}

export interface SshFacts {
  /** `ssh.DOMAIN:2222` */
  endpoint: string;
  fingerprint: string;
}

export interface Defaults {
  memoryMb: number;
  diskMb: number;
  healthCheckTimeout: number;
  stagingMemoryMb: number;
  stagingDiskMb: number;
  stagingTimeoutSeconds: number;
  stack: string;
}

export interface Context {
  client: Client;
  records: Records;
  reservations: Reservations;
  access: Access;
  flags: Flags;
  audit: Audit;
  usage: Usage;
  rates: RateLimiter;
  jobs: Jobs;
  logs: Logs;
  /** Absent: nodes are asked directly. */
  metrics?: Pick<Metrics, 'useOf' | 'refresh' | 'forget' | 'routeUse'>;
  staging: Staging;
  services: Services;
  urls: Urls;
  /** The default domain: routes of apps are below it. */
  domain: string;
  /** Hosts of the default domain that are the platform's own. */
  reservedHosts: string[];
  /** Ports of the router for TCP routes. */
  tcpPorts: () => readonly number[];
  defaults: Defaults;
  version: string;
  /** Where the ssh proxy is, and how clients know it; absent: there is none. */
  ssh?: SshFacts;
  /** Uploads are kept here until they are stored. */
  temporaryDirectory: string;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  now: () => number;
}

export function ok(body: unknown): Reply {
  return { status: 200, body };
}

export function created(body: unknown): Reply {
  return { status: 201, body };
}

/** An answer to an asynchronous request: the client polls the job. */
export function accepted(context: Pick<Context, 'urls'>, job: string): Reply {
  return { status: 202, headers: { location: `${context.urls.api}/v3/jobs/${job}` }, body: undefined };
}
