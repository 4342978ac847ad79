/** Routes, destinations, deployments, audit events and jobs in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { deploymentValue } from '../../resources/deployments.ts';
import type { AuditEvent } from '../../resources/event-types.ts';
import type { AppDeployment, Destination, Route } from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import type { Job } from '../jobs.ts';
import { createdAt } from '../records.ts';
import { base, link, metadata, time, toOne } from './base.ts';

export function routeUrl(route: Route): string {
  const host = route.spec.host === '' ? route.spec.domainName : `${route.spec.host}.${route.spec.domainName}`;
  return `${host}${route.spec.port === undefined ? '' : `:${route.spec.port}`}${route.spec.path}`;
}

export function presentDestination(route: Stored<Route>, destination: Destination): Json {
  return {
    guid: destination.guid,
    created_at: time(createdAt(route)),
    updated_at: time(createdAt(route)),
    app: { guid: destination.app, process: { type: destination.processType } },
    weight: destination.weight ?? null,
    port: destination.port ?? 8080,
    protocol: destination.protocol,
  };
}

export function presentDestinations(urls: Urls, route: Stored<Route>): Json {
  const self = `${urls.api}/v3/routes/${route.metadata.name}`;
  return {
    destinations: route.spec.destinations.map((destination) => presentDestination(route, destination)),
    links: { self: link(`${self}/destinations`), route: link(self) },
  };
}

export function presentRoute(urls: Urls, route: Stored<Route>, space: string): Json {
  const self = `${urls.api}/v3/routes/${route.metadata.name}`;
  return {
    ...base(route),
    protocol: route.spec.protocol,
    host: route.spec.host,
    path: route.spec.path,
    port: route.spec.port ?? null,
    url: routeUrl(route),
    destinations: route.spec.destinations.map((destination) => presentDestination(route, destination)),
    options: route.spec.options ?? {},
    metadata: metadata(route),
    relationships: { space: toOne(space), domain: toOne(route.spec.domain) },
    links: {
      self: link(self),
      space: link(`${urls.api}/v3/spaces/${space}`),
      destinations: link(`${self}/destinations`),
      domain: link(`${urls.api}/v3/domains/${route.spec.domain}`),
    },
  };
}

/** The older `state` field of a deployment, which clients still read. */
function deploymentState(value: string, reason: string): string {
  if (value === 'ACTIVE') return reason === 'CANCELING' ? 'CANCELING' : 'DEPLOYING';
  return reason === 'CANCELED' ? 'CANCELED' : 'DEPLOYED';
}

/** Its status follows what was asked for: what somebody has said counts at once. */
export function deploymentReason({ spec, status }: AppDeployment): string {
  const reason = status?.reason ?? 'DEPLOYING';
  if (status?.value === 'FINALIZED') return reason;
  if (spec.cancelled) return 'CANCELING';
  return reason === 'PAUSED' && (spec.continued ?? 0) > (status?.step ?? 0) ? 'DEPLOYING' : reason;
}

export function presentDeployment(
  urls: Urls,
  deployment: Stored<AppDeployment>,
  options: { processes: { guid: string; type: string }[]; revision?: { guid: string; version: number | null } },
): Json {
  const self = `${urls.api}/v3/deployments/${deployment.metadata.name}`;
  const { spec, status } = deployment;
  const value = deploymentValue(deployment);
  const reason = deploymentReason(deployment);
  const steps = spec.canarySteps;
  return {
    ...base(deployment),
    state: deploymentState(value, reason),
    status: {
      value,
      reason,
      details: {
        last_successful_healthcheck: time(status?.lastSuccessfulHealthcheck ?? createdAt(deployment)),
        last_status_change: time(status?.lastStatusChange ?? createdAt(deployment)),
        // Ours: why it was cancelled.
        ...(status?.error === undefined ? {} : { error: status.error }),
      },
      ...(steps === undefined ? {} : { canary: { steps: { current: (status?.step ?? 0) + 1, total: steps.length } } }),
    },
    strategy: spec.strategy,
    options: {
      max_in_flight: spec.maxInFlight,
      // One step without a weight is what a canary has when nobody says anything.
      ...(steps?.some((weight) => weight > 0)
        ? { canary: { steps: steps.map((weight) => ({ instance_weight: weight })) } }
        : {}),
    },
    droplet: { guid: spec.droplet },
    previous_droplet: { guid: spec.previousDroplet ?? null },
    new_processes: options.processes,
    ...(options.revision === undefined ? {} : { revision: options.revision }),
    metadata: metadata(deployment),
    relationships: { app: toOne(spec.app) },
    links: {
      self: link(self),
      app: link(`${urls.api}/v3/apps/${spec.app}`),
      ...(value === 'ACTIVE' ? { cancel: link(`${self}/actions/cancel`, 'POST') } : {}),
      ...(reason === 'PAUSED' ? { continue: link(`${self}/actions/continue`, 'POST') } : {}),
    },
  };
}

export function presentAuditEvent(urls: Urls, event: Stored<AuditEvent>): Json {
  const { spec } = event;
  return {
    ...base(event),
    type: spec.type,
    actor: spec.actor,
    target: spec.target,
    data: spec.data,
    space: spec.space === undefined ? null : { guid: spec.space },
    organization: spec.organization === undefined ? null : { guid: spec.organization },
    links: { self: link(`${urls.api}/v3/audit_events/${event.metadata.name}`) },
  };
}

export function presentJob(urls: Urls, job: Job): Json {
  return {
    guid: job.guid,
    created_at: time(job.createdAt),
    updated_at: time(job.updatedAt),
    operation: job.operation,
    state: job.state,
    errors: job.errors,
    warnings: (job.warnings ?? []).map((detail) => ({ detail })),
    links: {
      self: link(`${urls.api}/v3/jobs/${job.guid}`),
      ...(job.space === undefined ? {} : { space: link(`${urls.api}/v3/spaces/${job.space}`) }),
      ...(job.resource === undefined
        ? {}
        : { [job.resource.kind]: link(`${urls.api}/v3/${job.resource.kind}/${job.resource.guid}`) }),
    },
  };
}
