/** The manifest of an app as it is, and what a new manifest would change. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, HealthCheck, Process, SidecarFacts } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { processesOf } from '../operations/app-create.ts';
import { readEnvironment } from '../operations/environment.ts';
import { sidecarFactsOf } from '../operations/sidecars.ts';
import { routeUrl } from '../present/routes.ts';
import { isObject, parseMegabytes } from '../validate.ts';
import { featuresManifest } from './features.ts';
import { LOGINS } from './parse.ts';
import { servicesManifest } from './services.ts';

export async function generateManifest(context: Context, app: Stored<App>): Promise<Record<string, unknown>> {
  const { records } = context;
  const { lifecycle } = app.spec;
  const namespace = app.metadata.namespace ?? '';
  const environment = await readEnvironment(context.client, namespace, app.metadata.name);
  const routes = records.routes.ofApp(app.metadata.name).flatMap((route) =>
    route.spec.destinations
      .filter((destination) => destination.app === app.metadata.name)
      .map((destination) => ({
        route: routeUrl(route),
        protocol: destination.protocol,
        ...(Object.keys(route.spec.options ?? {}).length > 0 ? { options: route.spec.options } : {}),
      })),
  );
  const sidecars = sidecarFactsOf(context, app).map(sidecarManifest);
  const services = servicesManifest(context, app);
  const item = records.packages
    .ofApp(app.metadata.name)
    .findLast((candidate) => candidate.spec.type === 'docker' && candidate.spec.image !== undefined);
  return {
    name: app.spec.displayName,
    lifecycle: lifecycle.type,
    ...(lifecycle.type !== 'docker'
      ? { ...(lifecycle.buildpacks.length > 0 ? { buildpacks: lifecycle.buildpacks } : {}), stack: lifecycle.stack }
      : item
        ? { docker: { image: item.spec.image } }
        : {}),
    ...(Object.keys(environment).length > 0 ? { env: environment } : {}),
    ...(routes.length > 0 ? { routes } : {}),
    ...metadataOf(app),
    processes: processesOf(context, app.metadata.name).map((process) => processManifest(process)),
    ...(sidecars.length > 0 ? { sidecars } : {}),
    features: featuresManifest(app),
    ...(services.length > 0 ? { services } : {}),
  };
}

function metadataOf(app: Stored<App>): Record<string, unknown> {
  const { labels = {}, annotations = {} } = app.spec.userMetadata ?? {};
  const metadata = {
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
  return Object.keys(metadata).length > 0 ? { metadata } : {};
}

function checkManifest(check: HealthCheck, prefix: string): Record<string, unknown> {
  return {
    [`${prefix}type`]: check.type,
    ...(check.endpoint === undefined ? {} : { [`${prefix}http-endpoint`]: check.endpoint }),
    ...(check.invocationTimeout === undefined ? {} : { [`${prefix}invocation-timeout`]: check.invocationTimeout }),
    ...(check.interval === undefined ? {} : { [`${prefix}interval`]: check.interval }),
  };
}

function processManifest(process: Stored<Process>): Record<string, unknown> {
  const { spec } = process;
  return {
    type: spec.type,
    instances: spec.instances,
    memory: `${spec.memoryMb}M`,
    disk_quota: `${spec.diskMb}M`,
    'log-rate-limit-per-second': spec.logRateLimitBytes < 0 ? -1 : `${spec.logRateLimitBytes}B`,
    ...(spec.command === undefined ? {} : { command: spec.command }),
    ...checkManifest(spec.healthCheck, 'health-check-'),
    ...checkManifest(spec.readinessCheck, 'readiness-health-check-'),
    ...(spec.healthCheck.timeout === undefined ? {} : { timeout: spec.healthCheck.timeout }),
  };
}

function sidecarManifest(facts: SidecarFacts): Record<string, unknown> {
  const { displayName: name, processTypes: process_types, command, memoryMb } = facts;
  return { name, process_types, command, ...(memoryMb === undefined ? {} : { memory: `${memoryMb}M` }) };
}

export interface Difference {
  op: 'add' | 'replace';
  path: string;
  was?: unknown;
  value: unknown;
}

const SIZES = new Set(['memory', 'disk_quota', 'disk-quota']);
/** These steer the push and are no state of the app. */
const NO_STATE = new Set(['name', 'path', 'default-route', 'random-route', 'no-route', LOGINS]);
const OF_PROCESS = new Set([
  'instances',
  'memory',
  'disk_quota',
  'disk-quota',
  'command',
  'timeout',
  'log-rate-limit-per-second',
]);

/** What `wanted` would add or change; manifests never take away what they do not name. */
export function manifestDifference(
  index: number,
  wanted: Record<string, unknown>,
  current: Record<string, unknown> | undefined,
): Difference[] {
  const base = `/applications/${index}`;
  if (!current) {
    const { [LOGINS]: _hidden, ...value } = wanted;
    return [{ op: 'add', path: base, value }];
  }
  const differences: Difference[] = [];
  const web = (current.processes as Record<string, unknown>[]).find((process) => process.type === 'web') ?? {};
  const processes = Array.isArray(wanted.processes) ? (wanted.processes as unknown[]).filter(isObject) : [];
  const listed = processes.find((process) => process.type === 'web') ?? {};
  for (const [key, value] of Object.entries(wanted)) {
    if (NO_STATE.has(key) || value === null || value === undefined) continue;
    const ofWeb = OF_PROCESS.has(key) || key.includes('health-check');
    // What the list of processes says of it counts.
    if (ofWeb && listed[key] !== undefined) continue;
    compare(`${base}/${pointer(key)}`, key, value, ofWeb ? web[key] : current[key], differences);
  }
  return differences;
}

function pointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function compare(path: string, key: string, wanted: unknown, current: unknown, differences: Difference[]): void {
  if (SIZES.has(key) && parseMegabytes(wanted) === parseMegabytes(current)) return;
  if (current === undefined) {
    differences.push({ op: 'add', path, value: wanted });
  } else if (Array.isArray(wanted) && Array.isArray(current)) {
    compareLists(path, wanted, current, differences);
  } else if (isObject(wanted) && isObject(current)) {
    for (const [name, value] of Object.entries(wanted)) {
      if (value !== null) compare(`${path}/${pointer(name)}`, name, value, current[name], differences);
    }
  } else if (String(wanted) !== String(current)) {
    differences.push({ op: 'replace', path, was: current, value: wanted });
  }
}

/** Members are told by what identifies them, not by their place. */
function compareLists(path: string, wanted: unknown[], current: unknown[], differences: Difference[]): void {
  const identity = (item: unknown) =>
    isObject(item) ? String(item.type ?? item.route ?? item.name ?? '') : String(item);
  for (const [position, item] of wanted.entries()) {
    const match = current.find((candidate) => identity(candidate) === identity(item));
    compare(`${path}/${position}`, '', item, match, differences);
  }
}
