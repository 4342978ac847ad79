/** Makes apps what a manifest says. Each step may be repeated: applying a manifest again changes nothing. */
import { randomInt } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, Destination, Domain, HealthCheck, Process, Space } from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { CloudFoundryError, UnprocessableError, unprocessable } from '../errors.ts';
import { buildpackProblems } from '../endpoints/apps.ts';
import { domainsFor } from '../endpoints/organizations.ts';
import { createApp, ensureProcess } from '../operations/app-create.ts';
import { emit, record } from '../operations/app-lifecycle.ts';
import { mergedEnvironment, readEnvironment, writeEnvironment } from '../operations/environment.ts';
import { changeSizes } from '../operations/quota.ts';
import { hasLogins, putLogins } from '../operations/registry-logins.ts';
import { mergedOptions, type OptionsChange, requireAllowed } from '../operations/route-options.ts';
import { createRoute, findRoute, hostOf, mapRoute, unmapRoute } from '../operations/routes.ts';
import { applySidecar } from '../operations/sidecars.ts';
import { requireSpace } from '../operations/route-sharing.ts';
import { isTcp, protocolFor } from '../operations/tcp-routes.ts';
import { mergeMetadata } from '../validate.ts';
import { withFeatures } from './features.ts';
import type { AppPlan, ProcessPlan } from './parse.ts';
import { applyServices, serviceProblems } from './services.ts';

const WORDS = [
  'amber',
  'brave',
  'calm',
  'daring',
  'eager',
  'fair',
  'gentle',
  'happy',
  'jolly',
  'kind',
  'lively',
  'merry',
  'noble',
  'proud',
  'quick',
  'quiet',
  'ready',
  'sunny',
  'swift',
  'wise',
];
const ANIMALS = [
  'badger',
  'crane',
  'dingo',
  'egret',
  'falcon',
  'gecko',
  'heron',
  'ibis',
  'jackal',
  'koala',
  'lemur',
  'marmot',
  'newt',
  'otter',
  'panda',
  'quail',
  'raven',
  'stork',
  'tapir',
  'walrus',
];

export interface Target {
  identity: Identity;
  space: Stored<Space>;
}

/** Errors name the app. */
export async function applyPlans(context: Context, target: Target, plans: AppPlan[]): Promise<void> {
  for (const plan of plans) {
    try {
      await applyPlan(context, target, plan);
    } catch (error) {
      if (error instanceof UnprocessableError || !(error instanceof CloudFoundryError)) throw error;
      throw new CloudFoundryError(error.title, `For application '${plan.name}': ${error.message}`, { cause: error });
    }
  }
}

export function findApp(context: Context, space: Stored<Space>, name: string): Stored<App> | undefined {
  return context.records.apps
    .inNamespace(space.spec.namespace)
    .find((app) => app.spec.displayName.toLowerCase() === name.toLowerCase() && !app.metadata.deletionTimestamp);
}

async function applyPlan(context: Context, target: Target, plan: AppPlan): Promise<void> {
  const { identity, space } = target;
  const problems = buildpackProblems(context, plan.buildpacks ?? []);
  const { stack } = context.defaults;
  if (plan.stack !== undefined && plan.stack !== stack)
    problems.push(`Stack must be an existing stack; use "${stack}"`);
  problems.push(...serviceProblems(context, space, plan.services));
  if (problems.length > 0)
    throw new UnprocessableError(problems.map((problem) => `For application '${plan.name}': ${problem}`));
  const existing = findApp(context, space, plan.name);
  const lifecycle = lifecycleOf(context, plan, existing);
  let app =
    existing ??
    (await createApp(context, identity, {
      name: plan.name,
      space,
      lifecycle,
      environment: plan.environment,
      ...(plan.logins === undefined ? {} : { logins: plan.logins }),
    }));
  if (existing) {
    if (plan.logins) await putLogins(context, existing, plan.logins);
    app = await context.records.apps.modify(existing.metadata.name, (current) => ({
      ...current,
      spec: { ...current.spec, lifecycle },
    }));
    if (Object.keys(plan.environment).length > 0) {
      const old = await readEnvironment(context.client, space.spec.namespace, app.metadata.name);
      await writeEnvironment(context, app, app.metadata.name, mergedEnvironment(old, plan.environment));
    }
  }
  if (Object.keys(plan.labels).length + Object.keys(plan.annotations).length > 0) {
    await context.records.apps.modify(app.metadata.name, (current) => ({
      ...current,
      spec: { ...current.spec, userMetadata: mergeMetadata(current.spec.userMetadata, plan) },
    }));
  }
  await context.records.apps.modify(app.metadata.name, (current) => ({
    ...current,
    spec: withFeatures(current.spec, plan.features),
  }));
  for (const process of plan.processes) await applyProcess(context, app, process);
  for (const sidecar of plan.sidecars) await applySidecar(context, app, sidecar);
  await applyServices(context, target, app, plan.services);
  await applyRoutes(context, target, app, plan);
  await record(context, identity, app, 'audit.app.apply_manifest', { request: { name: plan.name } });
  emit(context, app, 'Applied manifest to');
}

function lifecycleOf(context: Context, plan: AppPlan, existing: Stored<App> | undefined): App['spec']['lifecycle'] {
  const old = existing?.spec.lifecycle;
  const type = plan.lifecycle ?? old?.type ?? 'buildpack';
  if (old && old.type !== type) throw unprocessable(`Lifecycle type cannot be changed from ${old.type} to ${type}`);
  if (type === 'docker') return { type };
  const known = old?.type === 'docker' ? undefined : old;
  return {
    type,
    buildpacks: plan.buildpacks ?? known?.buildpacks ?? [],
    stack: plan.stack ?? known?.stack ?? context.defaults.stack,
    ...hasLogins(plan.logins, known?.credentials),
  };
}

function mergedCheck(old: HealthCheck, change: Partial<HealthCheck> | undefined): HealthCheck {
  if (!change) return old;
  const merged: HealthCheck = { ...old, ...change };
  if (merged.type === 'http') merged.endpoint ??= '/';
  else delete merged.endpoint;
  return merged;
}

async function applyProcess(context: Context, app: Stored<App>, plan: ProcessPlan): Promise<Stored<Process>> {
  const process = await ensureProcess(context, app, plan.type);
  const { instances, memoryMb, diskMb, logRateLimitBytes } = plan;
  await changeSizes(context, process, {
    ...(instances === undefined ? {} : { instances }),
    ...(memoryMb === undefined ? {} : { memoryMb }),
    ...(diskMb === undefined ? {} : { diskMb }),
    ...(logRateLimitBytes === undefined ? {} : { logRateLimitBytes }),
  });
  return context.records.processes.modify(process.metadata.name, (current) => {
    const { command: old, ...spec } = current.spec;
    const command = plan.command === undefined ? old : (plan.command ?? undefined);
    return {
      ...current,
      spec: {
        ...spec,
        ...(command === undefined ? {} : { command }),
        healthCheck: mergedCheck(spec.healthCheck, plan.healthCheck),
        readinessCheck: mergedCheck(spec.readinessCheck, plan.readinessCheck),
      },
    };
  });
}

async function applyRoutes(context: Context, target: Target, app: Stored<App>, plan: AppPlan): Promise<void> {
  const { identity } = target;
  if (plan.noRoute) {
    for (const route of context.records.routes.ofApp(app.metadata.name)) {
      await unmapRoute(context, identity, route, (destination) => destination.app === app.metadata.name);
    }
    return;
  }
  for (const { route, protocol, options } of plan.routes) {
    await ensureMapped(context, target, app, { ...splitRoute(context, target.space, route), protocol, options });
  }
  if (plan.routes.length > 0 || !(plan.defaultRoute || plan.randomRoute)) return;
  if (context.records.routes.ofApp(app.metadata.name).length > 0) return;
  const domain = context.records.domains.all().find((item) => item.spec.displayName === context.domain);
  if (!domain) throw unprocessable('There is no default domain for a route.');
  const host = hostOf(plan.name);
  const random = () => `${host.slice(0, 40).replace(/-+$/, '')}-${pick(WORDS)}-${pick(ANIMALS)}`;
  await ensureMapped(context, target, app, {
    domain,
    host: plan.randomRoute ? random() : host,
    path: '',
  });
}

function pick(words: string[]): string {
  return words[randomInt(words.length)] ?? '';
}

interface Place {
  domain: Stored<Domain>;
  host: string;
  path: string;
  port?: number;
}

interface Wanted extends Place {
  protocol?: Destination['protocol'] | undefined;
  options?: OptionsChange | undefined;
}

async function ensureMapped(context: Context, target: Target, app: Stored<App>, wanted: Wanted): Promise<void> {
  const { options } = wanted;
  requireAllowed(context, options);
  let route = existingRoute(context, app, wanted);
  if (route) requireSpace(context, route, app);
  if (route && options) {
    route = await context.records.routes.modify(route.metadata.name, (current) => ({
      ...current,
      spec: { ...current.spec, options: mergedOptions(current.spec.options ?? {}, options) },
    }));
  }
  route ??= await createRoute(context, target.identity, {
    space: target.space,
    domain: wanted.domain,
    host: wanted.host,
    path: wanted.path,
    ...(wanted.port === undefined ? {} : { port: wanted.port }),
    ...(options && { options: mergedOptions({}, options) }),
  });
  const protocol = protocolFor(route, wanted.protocol);
  const mapped = route.spec.destinations.find((destination) => destination.app === app.metadata.name);
  if (mapped && (wanted.protocol === undefined || mapped.protocol === protocol)) return;
  await mapRoute(context, target.identity, route, [{ app, processType: 'web', protocol }]);
}

/** A TCP route without a port is any that the app has on the domain. */
function existingRoute(context: Context, app: Stored<App>, { domain, host, path, port }: Wanted) {
  if (port !== undefined || !isTcp(domain))
    return findRoute(context, { domain: domain.metadata.name, host, path, port });
  return context.records.routes.ofApp(app.metadata.name).find(({ spec }) => spec.domain === domain.metadata.name);
}

/** `host.domain:port/path`: the longest domain that the organization can use wins. */
function splitRoute(context: Context, space: Stored<Space>, text: string): Place {
  const bare = text.replace(/^(?:https?|tcp):\/\//i, '');
  const slash = bare.indexOf('/');
  const [name = '', digits] = (slash < 0 ? bare : bare.slice(0, slash)).toLowerCase().split(/:(?=\d{1,5}$)/);
  const path = slash < 0 ? '' : bare.slice(slash).replace(/\/$/, '');
  const candidates = domainsFor(context, space.spec.organization)
    .filter((domain) => name === domain.spec.displayName || name.endsWith(`.${domain.spec.displayName}`))
    .sort((a, b) => b.spec.displayName.length - a.spec.displayName.length);
  const [domain] = candidates;
  if (!domain) {
    throw unprocessable(`The route '${text.slice(0, 120)}' did not match any existing domains.`);
  }
  const host = name === domain.spec.displayName ? '' : name.slice(0, -domain.spec.displayName.length - 1);
  return { domain, host, path, ...(digits === undefined ? {} : { port: Number(digits) }) };
}
