/** Apps, packages, builds, droplets, processes and revisions in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type {
  App,
  Build,
  Droplet,
  HealthCheck,
  Package,
  Process,
  Revision,
  Sidecar,
  SidecarFacts,
} from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import { HIDDEN_LOGINS } from '../operations/registry-logins.ts';
import { base, link, metadata, toOne } from './base.ts';

type Lifecycle = App['spec']['lifecycle'];

export function presentLifecycle(lifecycle: Lifecycle): Json {
  return lifecycle.type === 'docker'
    ? { type: 'docker', data: {} }
    : {
        type: lifecycle.type,
        data: {
          buildpacks: lifecycle.buildpacks,
          stack: lifecycle.stack,
          ...(lifecycle.credentials === true ? { credentials: HIDDEN_LOGINS } : {}),
        },
      };
}

export function presentApp(urls: Urls, app: Stored<App>, space: string): Json {
  const self = `${urls.api}/v3/apps/${app.metadata.name}`;
  return {
    ...base(app),
    name: app.spec.displayName,
    state: app.spec.state,
    lifecycle: presentLifecycle(app.spec.lifecycle),
    relationships: { space: toOne(space), current_droplet: toOne(app.spec.currentDroplet) },
    metadata: metadata(app),
    links: {
      self: link(self),
      environment_variables: link(`${self}/environment_variables`),
      space: link(`${urls.api}/v3/spaces/${space}`),
      processes: link(`${self}/processes`),
      packages: link(`${self}/packages`),
      current_droplet: link(`${self}/droplets/current`),
      droplets: link(`${self}/droplets`),
      tasks: link(`${self}/tasks`),
      start: link(`${self}/actions/start`, 'POST'),
      stop: link(`${self}/actions/stop`, 'POST'),
      restart: link(`${self}/actions/restart`, 'POST'),
      revisions: link(`${self}/revisions`),
      deployed_revisions: link(`${self}/revisions/deployed`),
      features: link(`${self}/features`),
    },
  };
}

export function packageState(item: Stored<Package>): string {
  return item.status?.state ?? (item.spec.type === 'docker' ? 'READY' : 'AWAITING_UPLOAD');
}

export function presentPackage(urls: Urls, item: Stored<Package>): Json {
  const self = `${urls.api}/v3/packages/${item.metadata.name}`;
  const { checksum, error } = item.status ?? {};
  const docker = item.spec.type === 'docker';
  return {
    ...base(item),
    type: item.spec.type,
    data: docker
      ? {
          image: item.spec.image ?? null,
          username: item.spec.docker?.username ?? null,
          password: item.spec.docker?.passwordSecret === undefined ? null : '***',
        }
      : {
          error: error ?? null,
          checksum: { type: 'sha256', value: checksum?.replace(/^sha256:/, '') ?? null },
        },
    state: packageState(item),
    relationships: { app: toOne(item.spec.app) },
    metadata: metadata(item),
    links: {
      self: link(self),
      ...(docker ? {} : { upload: link(`${self}/upload`, 'POST'), download: link(`${self}/download`, 'GET') }),
      app: link(`${urls.api}/v3/apps/${item.spec.app}`),
    },
  };
}

export function buildState(build: Stored<Build>): 'STAGING' | 'STAGED' | 'FAILED' {
  return build.status?.state ?? 'STAGING';
}

export function presentBuild(urls: Urls, build: Stored<Build>): Json {
  const { status } = build;
  const droplet = status?.state === 'STAGED' ? status.droplet : undefined;
  return {
    ...base(build),
    created_by: { ...build.spec.createdBy, email: build.spec.createdBy.name },
    state: buildState(build),
    staging_memory_in_mb: build.spec.memoryMb,
    staging_disk_in_mb: build.spec.diskMb,
    staging_log_rate_limit_bytes_per_second: -1,
    error: status?.error ? `${status.error.code} - ${status.error.message}` : null,
    lifecycle: presentLifecycle(build.spec.lifecycle),
    package: { guid: build.spec.package },
    droplet: droplet === undefined ? null : { guid: droplet },
    relationships: { app: toOne(build.spec.app) },
    metadata: metadata(build),
    links: {
      self: link(`${urls.api}/v3/builds/${build.metadata.name}`),
      app: link(`${urls.api}/v3/apps/${build.spec.app}`),
      ...(droplet === undefined ? {} : { droplet: link(`${urls.api}/v3/droplets/${droplet}`) }),
    },
  };
}

export function dropletState(droplet: Stored<Droplet>): string {
  if (droplet.spec.image === '') return 'AWAITING_UPLOAD';
  return droplet.status?.state ?? 'STAGED';
}

export function presentDroplet(urls: Urls, droplet: Stored<Droplet>): Json {
  const self = `${urls.api}/v3/droplets/${droplet.metadata.name}`;
  const { spec, status } = droplet;
  const docker = spec.lifecycle === 'docker';
  const waits = dropletState(droplet) === 'AWAITING_UPLOAD';
  return {
    ...base(droplet),
    state: dropletState(droplet),
    error: status?.error ?? null,
    lifecycle: { type: spec.lifecycle, data: {} },
    execution_metadata: '',
    process_types: spec.processTypes,
    checksum:
      docker || waits
        ? null
        : { type: 'sha256', value: (status?.checksum ?? spec.image.split('@')[1] ?? '').replace(/^sha256:/, '') },
    buildpacks: docker
      ? null
      : spec.buildpacks.map((buildpack) => ({
          name: buildpack.name,
          detect_output: buildpack.detectOutput ?? buildpack.name,
          buildpack_name: buildpack.name,
          version: buildpack.version,
        })),
    stack: spec.stack ?? null,
    // Ours: of a buildpack's droplet too, as it is an image that any OCI client can read.
    image: spec.image || null,
    relationships: { app: toOne(spec.app) },
    metadata: metadata(droplet),
    links: {
      self: link(self),
      ...(spec.package === undefined ? {} : { package: link(`${urls.api}/v3/packages/${spec.package}`) }),
      app: link(`${urls.api}/v3/apps/${spec.app}`),
      ...(waits ? { upload: link(`${self}/upload`, 'POST') } : docker ? {} : { download: link(`${self}/download`) }),
      assign_current_droplet: link(`${urls.api}/v3/apps/${spec.app}/relationships/current_droplet`, 'PATCH'),
    },
  };
}

function healthCheckData(check: HealthCheck): Json {
  return {
    ...(check.type === 'process' ? {} : { invocation_timeout: check.invocationTimeout ?? null }),
    interval: check.interval ?? null,
    ...(check.type === 'http' ? { endpoint: check.endpoint ?? '/' } : {}),
  };
}

/** In lists the command is hidden, as Cloud Foundry does. */
export function presentProcess(
  urls: Urls,
  process: Stored<Process>,
  options: { space: string; command: string | null; revision?: string; instances?: number; listed?: boolean },
): Json {
  const self = `${urls.api}/v3/processes/${process.metadata.name}`;
  const { spec } = process;
  return {
    ...base(process),
    type: spec.type,
    command: options.listed && options.command !== null ? '[PRIVATE DATA HIDDEN IN LISTS]' : options.command,
    user: null,
    instances: options.instances ?? spec.instances,
    memory_in_mb: spec.memoryMb,
    disk_in_mb: spec.diskMb,
    log_rate_limit_in_bytes_per_second: spec.logRateLimitBytes,
    health_check: {
      type: spec.healthCheck.type,
      data: { timeout: spec.healthCheck.timeout ?? null, ...healthCheckData(spec.healthCheck) },
    },
    readiness_health_check: { type: spec.readinessCheck.type, data: healthCheckData(spec.readinessCheck) },
    relationships: { app: toOne(spec.app), revision: options.revision === undefined ? null : toOne(options.revision) },
    metadata: metadata(process),
    links: {
      self: link(self),
      scale: link(`${self}/actions/scale`, 'POST'),
      app: link(`${urls.api}/v3/apps/${spec.app}`),
      space: link(`${urls.api}/v3/spaces/${options.space}`),
      stats: link(`${self}/stats`),
    },
  };
}

export function presentSidecarFacts(facts: SidecarFacts): Json {
  const { displayName: name, command, processTypes: process_types, memoryMb } = facts;
  return { name, command, process_types, memory_in_mb: memoryMb ?? null };
}

export function presentSidecar(sidecar: Stored<Sidecar>, options: { command: boolean }): Json {
  const facts = presentSidecarFacts(sidecar.spec);
  return {
    ...base(sidecar),
    ...facts,
    command: options.command ? facts.command : '[PRIVATE DATA HIDDEN]',
    origin: sidecar.spec.origin,
    relationships: { app: toOne(sidecar.spec.app) },
  };
}

export function presentRevision(urls: Urls, revision: Stored<Revision>): Json {
  const self = `${urls.api}/v3/revisions/${revision.metadata.name}`;
  const { spec } = revision;
  return {
    ...base(revision),
    version: spec.version,
    droplet: { guid: spec.droplet },
    processes: Object.fromEntries(Object.entries(spec.commands).map(([type, command]) => [type, { command }])),
    sidecars: (spec.sidecars ?? []).map(presentSidecarFacts),
    description: spec.description,
    deployable: spec.deployable,
    relationships: { app: toOne(spec.app) },
    metadata: metadata(revision),
    links: {
      self: link(self),
      app: link(`${urls.api}/v3/apps/${spec.app}`),
      environment_variables: link(`${self}/environment_variables`),
    },
  };
}
