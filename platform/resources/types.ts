/**
 * Cloud Foundry's objects as custom resources of the group `platform.sampan.dev/v1`: what the cloud controller writes,
 * what staging, workloads and router read, and what `kubectl get apps` shows.
 *
 * Names. `metadata.name` of each is its Cloud Foundry guid; the name that people gave it is `spec.displayName`, and it is
 * repeated in the label `platform.sampan.dev/name` where it is a valid label value. What must be unique is held by a
 * `Reservation`, created first under a name derived from it. Organizations, spaces, domains and reservations are
 * cluster-scoped; everything else lives in its space's namespace.
 * Links go by guid and are repeated as labels (`platform.sampan.dev/app`, `…/package`, …), so that they can be selected.
 * Every object of an app has the app as its owner: deleting the app collects them.
 */
import type { TypedResource } from '#cluster/kinds/kind.ts';
import type { ObjectMeta } from '#cluster/kinds/types/meta.ts';
import type { LdapProvider, OidcProvider } from './identity-providers.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface Resource<Spec, Status = Record<string, never>> {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}

/** The user's own labels and annotations (Cloud Foundry `metadata`), kept apart from Kubernetes'. */
export interface UserMetadata {
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export type Organization = Resource<{
  displayName: string;
  suspended: boolean;
  /** Guid; absent: the default one. */
  quota?: string;
  /** Guid of the isolation segment of spaces that say none. */
  segment?: string;
  userMetadata?: UserMetadata;
}>;

export type Space = Resource<{
  displayName: string;
  organization: string;
  /** The namespace that is this space; made with it, deleted with it. */
  namespace: string;
  /** Guid; absent: only the organization's limits count. */
  quota?: string;
  /** Its apps can be entered by ssh, where they allow it; absent: they can. */
  ssh?: boolean;
  /** Guid of its isolation segment; absent: its organization's. */
  segment?: string;
  userMetadata?: UserMetadata;
}>;

/** Nodes that only these organizations' apps run on: see `segments.ts`. */
export type IsolationSegment = Resource<{
  displayName: string;
  /** Guids of those that are entitled to it. */
  organizations: string[];
  userMetadata?: UserMetadata;
}>;

/** Null: as much as there is. */
export interface QuotaLimits {
  memoryMb: number | null;
  processMemoryMb: number | null;
  instances: number | null;
  tasksPerApp: number | null;
  logRateBytes: number | null;
  paidServices: boolean;
  serviceInstances: number | null;
  serviceKeys: number | null;
  routes: number | null;
  reservedPorts: number | null;
  /** Of organizations only. */
  domains: number | null;
}

export type OrganizationQuota = Resource<{ displayName: string; limits: QuotaLimits }>;

export type SpaceQuota = Resource<{ displayName: string; organization: string; limits: QuotaLimits }>;

export type Domain = Resource<{
  displayName: string;
  internal: boolean;
  /** Whose it is; absent: everybody's. */
  organization?: string;
  /** Of a domain for TCP routes: the guid of the group of routers that serve them. */
  routerGroup?: string;
  /** Organizations that may use it besides. */
  sharedWith?: string[];
  userMetadata?: UserMetadata;
}>;

/** A certificate that the router offers, or should: see `platform/certificates/certificates.ts`. Chain and key are the Secret `certificate-<name>`. */
export type DomainCertificate = Resource<
  {
    source: 'uploaded' | 'acme' | 'own';
    /** Guid of the domain that the hosts are in. */
    domain: string;
    /** Lower case; `*.` and a host is a wildcard. */
    hosts: string[];
  },
  {
    /** `FAILED` and `EXPIRED`: it is not offered. An `ACTIVE` one with an `error` could not be renewed yet. */
    state: 'PENDING' | 'ACTIVE' | 'FAILED' | 'EXPIRED';
    issuer?: string;
    serial?: string;
    notBefore?: string;
    notAfter?: string;
    /** When it is to be made anew; absent: never. */
    renewAt?: string;
    /** Of the last attempt. `type` is the ACME server's, without its prefix. */
    error?: { type: string; detail: string } | null;
    /** In a row. */
    failures?: number;
    /** Not before is it tried again. */
    nextAttempt?: string | null;
  }
>;

/** Holds a unique thing: `metadata.name` is `<kind>-<sha256 of the unique key, 40 digits>`. */
export type Reservation = Resource<{ holder: { resource: string; namespace?: string; name: string }; key: string }>;

export type App = Resource<{
  displayName: string;
  state: 'STARTED' | 'STOPPED';
  lifecycle: Lifecycle;
  /** Guid of the droplet that should run. */
  currentDroplet?: string;
  /** Counts up whenever the app must be restarted with new processes (droplet, environment, restart). */
  generation: number;
  /** Guid of the newest revision. */
  currentRevision?: string;
  /** Its instances can be entered by ssh; absent: they can. */
  ssh?: boolean;
  /** What it ran is kept, to go back to; absent: it is. */
  revisions?: boolean;
  /** How it is told of services, rather than by `VCAP_SERVICES`: by a file with the same, or by files as servicebinding.io has them. */
  serviceFiles?: 'vcap' | 'kubernetes';
  userMetadata?: UserMetadata;
}>;
// The app's environment variables are a Secret in the namespace, `env-<app guid>`, one key for each variable.

export type Package = Resource<
  {
    app: string;
    type: 'bits' | 'docker';
    /** docker: the image. bits: set when the upload is stored (`<registry repository>@<digest>`). */
    image?: string;
    docker?: { username?: string; passwordSecret?: string };
    userMetadata?: UserMetadata;
  },
  {
    state: 'AWAITING_UPLOAD' | 'PROCESSING_UPLOAD' | 'READY' | 'FAILED' | 'COPYING' | 'EXPIRED';
    error?: string;
    checksum?: string;
    sizeBytes?: number;
  }
>;

export type Build = Resource<
  {
    app: string;
    package: string;
    lifecycle: Lifecycle;
    memoryMb: number;
    diskMb: number;
    /** Hard limit for detect and build together. */
    timeoutSeconds: number;
    createdBy: { guid: string; name: string };
    /** Name of the isolation segment that it runs in. */
    segment?: string;
    /** Set by whoever cancels: the build pod is removed and the build fails with `StagingCancelled`. */
    cancelled?: boolean;
    userMetadata?: UserMetadata;
  },
  {
    state: 'STAGING' | 'STAGED' | 'FAILED';
    /** Cloud Foundry's own code first: `BuildpackCompileFailed`, `NoAppDetectedError`, `StagingTimeExpired`, … */
    error?: { code: string; message: string };
    /** Guid. */
    droplet?: string;
    pod?: string;
    startedAt?: string;
    finishedAt?: string;
  }
>;

export type Droplet = Resource<
  {
    app: string;
    package?: string;
    build?: string;
    /** `<repository>@<digest>`: what pods run. Empty until it is uploaded. */
    image: string;
    /** Secret of the namespace with the login that pulls the image (docker). */
    pullSecret?: string;
    /** Command by process type; from the launch metadata or the Procfile. */
    processTypes: Record<string, string>;
    /** The commands were given with the upload: the image itself has others. */
    commandsGiven?: boolean;
    lifecycle: Lifecycle['type']; // Default working directory and user of the image are the image's own.
    ownEntryPoint?: boolean; // Built of a Dockerfile: it starts as a Docker image does. See `startsByImage`.
    stack?: string;
    buildpacks: { name: string; version: string; detectOutput?: string }[];
    /** Ports that the image exposes (docker, Dockerfile), else 8080. */
    ports: number[];
    /** The image's own user (`1000`, `1000:1000`, `nginx`); absent: 1000 for a buildpack's, root for docker's. */
    user?: string;
    userMetadata?: UserMetadata;
  },
  { state: 'STAGED' | 'FAILED' | 'AWAITING_UPLOAD' | 'EXPIRED'; error?: string; checksum?: string; sizeBytes?: number }
>;

export interface HealthCheck {
  type: 'port' | 'process' | 'http';
  endpoint?: string;
  /** Seconds until an instance must be healthy. */
  timeout?: number;
  invocationTimeout?: number;
  interval?: number;
}

export type Process = Resource<{
  app: string;
  type: string;
  instances: number;
  memoryMb: number;
  diskMb: number;
  /** The user's; undefined takes the droplet's. */
  command?: string;
  healthCheck: HealthCheck;
  readinessCheck: HealthCheck;
  logRateLimitBytes: number;
  userMetadata?: UserMetadata;
}>;

/** A command that runs beside those of its app's processes that have one of its types, in each instance. */
export type Sidecar = Resource<{ app: string; origin: 'user' | 'buildpack' } & SidecarFacts>;

export interface SidecarFacts {
  displayName: string;
  command: string;
  processTypes: string[];
  /** Taken from what its process has; absent: it shares all of that. */
  memoryMb?: number;
}

/** As Cloud Foundry writes it: `destination` is an address, a CIDR or a range, or several with commas; `ports` likewise. */
export interface SecurityRule {
  protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6' | 'all';
  destination: string;
  ports?: string;
  /** Of icmp; -1 is any. */
  type?: number;
  code?: number;
  description?: string;
  log?: boolean;
}

/** Where apps and builds may connect to. The lists are guids of spaces; one that is gone counts for nothing. */
export type SecurityGroup = Resource<{
  displayName: string;
  rules: SecurityRule[];
  globallyRunning: boolean;
  globallyStaging: boolean;
  runningSpaces: string[];
  stagingSpaces: string[];
}>;

/** `app` may connect to `destination` (both guids) at these ports. It is in the namespace of `app`. */
export type AppConnection = Resource<{
  app: string;
  destination: string;
  protocol: 'tcp' | 'udp';
  ports: { start: number; end: number };
}>;

export interface Destination {
  guid: string;
  app: string;
  processType: string;
  /** Of the app; absent: the one that it is told to listen on. */
  port?: number;
  /** In hundredths of what the route gets: all destinations of a route have one, or none. */
  weight?: number;
  protocol: 'http1' | 'http2' | 'tcp';
}

export type Route = Resource<{
  /** Guid of the domain, and its name, as it never changes. */
  domain: string;
  domainName: string;
  /** Empty for the domain itself. */
  host: string;
  /** Empty, or `/a/b`. */
  path: string;
  port?: number;
  protocol: 'http' | 'tcp';
  destinations: Destination[];
  /** Absent: taking turns. As Cloud Foundry has them: a balance is a decimal number. */
  options?: {
    loadbalancing?: 'round-robin' | 'least-connection' | 'hash';
    hash_header?: string;
    hash_balance?: string;
  };
  /** Guids of spaces whose apps it may lead to as well; one that is gone counts for nothing. */
  sharedWith?: string[];
  userMetadata?: UserMetadata;
}>;

/** What ran: enough to run it again. Its environment is the Secret `env-<revision guid>`. */
export type Revision = Resource<{
  app: string;
  /** From 1. 0: its app keeps none, and this one is there for what runs alone: nobody is shown it. */
  version: number;
  droplet: string;
  commands: Record<string, string>;
  sidecars?: SidecarFacts[];
  description: string;
  deployable: boolean;
  userMetadata?: UserMetadata;
}>;

export type AppDeployment = Resource<
  {
    app: string;
    strategy: 'rolling' | 'recreate' | 'canary';
    droplet: string;
    previousDroplet?: string;
    revision?: string;
    /** Instances that may be above the wanted number at once. */
    maxInFlight: number;
    /** Of a canary: which share of the instances, in hundredths, each step has before it waits. One instance at least. */
    canarySteps?: number[];
    /** How many steps somebody has said to go on from. */
    continued?: number;
    cancelled?: boolean;
    /** App generation that this deployment brings. */
    generation: number;
    userMetadata?: UserMetadata;
  },
  {
    value: 'ACTIVE' | 'FINALIZED';
    reason: 'DEPLOYING' | 'PAUSED' | 'DEPLOYED' | 'CANCELING' | 'CANCELED' | 'SUPERSEDED';
    lastSuccessfulHealthcheck?: string;
    /** Of the step that it is at or waits in; 0 is the first. */
    step?: number;
    error?: string;
    lastStatusChange?: string;
  }
>;

/** A command that runs once, with the droplet and variables that its app had when it was made. */
export type Task = Resource<
  {
    app: string;
    displayName: string;
    /** Counts up from 1 for each app. */
    sequence: number;
    command: string;
    droplet: string;
    memoryMb: number;
    diskMb: number;
    logRateLimitBytes: number;
    cancelled?: boolean;
    userMetadata?: UserMetadata;
  },
  {
    state: 'PENDING' | 'RUNNING' | 'CANCELING' | 'SUCCEEDED' | 'FAILED';
    failureReason?: string;
    finishedAt?: string;
  }
>;

/** A user of the platform; the password's hash (argon2id) is in the Secret `user-<guid>` of the system namespace. */
export type User = Resource<{
  username: string;
  origin: string;
  active: boolean;
  /** Their names: each is a scope of the user's tokens. */
  groups: string[];
  email?: string;
  givenName?: string;
  familyName?: string;
  externalId?: string;
  /** As the identity provider said at the last login; `groups` are what was given here. */
  externalGroups?: string[];
  userMetadata?: UserMetadata;
}>;

/** A group that somebody made, besides those that the platform knows; a user's are in `User.groups`. */
export type Group = Resource<{ displayName: string; description?: string }>;

/** A client of UAA besides the platform's own; its secret's hash is in the Secret `client-<object's name>` of the system namespace. */
export type OauthClient = Resource<{
  id: string;
  displayName?: string;
  grants: string[];
  /** Of users' tokens, and of its own. */
  scopes: string[];
  authorities: string[];
  redirectUris: string[];
  autoApprove: boolean | string[];
  accessSeconds?: number;
  refreshSeconds?: number;
  /** Guid of the service broker whose catalog it is of. */
  broker?: string;
}>;

/** Where users of another origin log in; what the provider knows us by is the Secret `idp-<object's name>` of the system namespace. */
export type IdentityProvider = Resource<OidcProvider | LdapProvider>;

/** What people changed of a stack or buildpack that the platform brings itself; `metadata.name` is its guid. */
export type CatalogEntry = Resource<{
  userMetadata?: UserMetadata;
  /** Of a stack; absent: `ACTIVE`. */
  state?: 'ACTIVE' | 'RESTRICTED' | 'DEPRECATED' | 'DISABLED';
  /** Why it has that state. */
  stateReason?: string;
  /** Of a buildpack. */
  position?: number;
  enabled?: boolean;
}>;

/** A buildpack that an administrator uploaded; its files are the image `sampan/buildpacks:<guid>`. */
export type Buildpack = Resource<{
  displayName: string;
  /** Absent: any. */
  stack?: string;
  position: number;
  enabled: boolean;
  locked: boolean;
  /** Absent: nothing was uploaded yet. */
  filename?: string;
  checksum?: string;
  userMetadata?: UserMetadata;
}>;

/** A flag that an administrator has changed; `metadata.name` is its name with dashes. */
export type FeatureFlag = Resource<{ enabled: boolean; customErrorMessage?: string }>;

export type Role = Resource<{ type: string; user: string; organization?: string; space?: string }>;

export function custom<T extends { metadata: ObjectMeta }>(
  kind: string,
  plural: string,
  namespaced: boolean,
): TypedResource<T> {
  return { group: 'platform.sampan.dev', version: 'v1', resource: plural, kind, namespaced };
}

export const organizations = custom<Organization>('Organization', 'organizations', false);
export const spaces = custom<Space>('Space', 'spaces', false);
export const isolationSegments = custom<IsolationSegment>('IsolationSegment', 'isolationsegments', false);
export const organizationQuotas = custom<OrganizationQuota>('OrganizationQuota', 'organizationquotas', false);
export const spaceQuotas = custom<SpaceQuota>('SpaceQuota', 'spacequotas', false);
export const domains = custom<Domain>('Domain', 'domains', false);
export const domainCertificates = custom<DomainCertificate>('DomainCertificate', 'domaincertificates', false);
export const reservations = custom<Reservation>('Reservation', 'reservations', false);
export const users = custom<User>('User', 'users', false);
export const featureFlags = custom<FeatureFlag>('FeatureFlag', 'featureflags', false);
export const identityProviders = custom<IdentityProvider>('IdentityProvider', 'identityproviders', false);
export const catalogEntries = custom<CatalogEntry>('CatalogEntry', 'catalogentries', false);
export const buildpacks = custom<Buildpack>('Buildpack', 'buildpacks', false);
export const groups = custom<Group>('Group', 'groups', false);
export const oauthClients = custom<OauthClient>('OauthClient', 'oauthclients', false);
export const roles = custom<Role>('Role', 'roles', false);
export const apps = custom<App>('App', 'apps', true);
export const packages = custom<Package>('Package', 'packages', true);
export const builds = custom<Build>('Build', 'builds', true);
export const droplets = custom<Droplet>('Droplet', 'droplets', true);
export const processes = custom<Process>('Process', 'processes', true);
export const sidecars = custom<Sidecar>('Sidecar', 'sidecars', true);
export const securityGroups = custom<SecurityGroup>('SecurityGroup', 'securitygroups', false);
export const appConnections = custom<AppConnection>('AppConnection', 'appconnections', true);
export const routes = custom<Route>('Route', 'routes', true);
export const revisions = custom<Revision>('Revision', 'revisions', true);
export const appDeployments = custom<AppDeployment>('AppDeployment', 'appdeployments', true);
export const tasks = custom<Task>('Task', 'tasks', true);

/** Namespace of the platform's own objects: users, secrets, leases, build configuration. */
export const systemNamespace = 'sampan-system';

/** Labels on the pods, ReplicaSets and Services that run apps. */
export const labels = {
  app: 'platform.sampan.dev/app',
  appName: 'platform.sampan.dev/app-name',
  process: 'platform.sampan.dev/process',
  processType: 'platform.sampan.dev/process-type',
  /** Guid of the task that a pod runs; such a pod has no process. */
  task: 'platform.sampan.dev/task',
  /** The app's generation: which revision of the process a ReplicaSet runs. */
  generation: 'platform.sampan.dev/generation',
  package: 'platform.sampan.dev/package',
  build: 'platform.sampan.dev/build',
  droplet: 'platform.sampan.dev/droplet',
  service: 'platform.sampan.dev/service',
  /** On the Secrets of a `DomainCertificate`: its name. */
  certificate: 'platform.sampan.dev/certificate',
  space: 'platform.sampan.dev/space',
  organization: 'platform.sampan.dev/organization',
  name: 'platform.sampan.dev/name',
} as const;

export const annotations = {
  /** Creation and last change in milliseconds' precision (ISO 8601): Kubernetes' own times have seconds. */
  createdAt: 'platform.sampan.dev/created-at',
  updatedAt: 'platform.sampan.dev/updated-at',
  /** On an object that is moved to another space: its namespace. Nobody but who moves it writes it from then on. */
  leaving: 'platform.sampan.dev/leaving',
  /** On a space or organization whose deletion has begun: it is taken up again after a restart. */
  deleting: 'platform.sampan.dev/deleting',
  /** On the pod of a task: what people call it. */
  taskName: 'platform.sampan.dev/task-name',
  /** The instance index of a pod, written before its scheduling gate is lifted. */
  instanceIndex: 'platform.sampan.dev/instance-index',
  /** Bytes a second that collectors take of each container's log: obeyed by the node. */
  logRate: 'node.sampan.dev/log-bytes-per-second',
} as const;

export const instanceIndexGate = 'platform.sampan.dev/instance-index';
