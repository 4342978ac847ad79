/**
 * What organizations and spaces may use: limits against what is there. Only what asks for more is checked, so that who is
 * over a limit that came later can still scale down. Memory and instances count for started apps, each at what its
 * processes may have; a rolling deployment's second set of instances is not counted, as in Cloud Foundry.
 *
 * A check and the write that it is for go through `underQuota`, one after the other for an organization: two that fit
 * each by itself must not both come in.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, Organization, Process, QuotaLimits, Space, SpaceQuota, Task } from '../../resources/types.ts';
import { bindingKind, type ServiceBinding, type ServiceInstance } from '../../resources/service-types.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { processesOf } from './app-create.ts';
import { serially } from './serially.ts';
import { requireRoomForSidecars } from './sidecars.ts';

/** Every organization has it unless it was given another. */
export const DEFAULT_QUOTA = '00000000-0000-4000-8000-000000000001';

export const UNLIMITED: QuotaLimits = {
  memoryMb: null,
  processMemoryMb: null,
  instances: null,
  tasksPerApp: null,
  logRateBytes: null,
  paidServices: true,
  serviceInstances: null,
  serviceKeys: null,
  routes: null,
  reservedPorts: null,
  domains: null,
};

export function quotaOf(organization: Stored<Organization>): string {
  return organization.spec.quota ?? DEFAULT_QUOTA;
}

interface Scope {
  what: 'organization' | 'space';
  name: string;
  quota: string;
  limits: QuotaLimits;
  spaces: Stored<Space>[];
}

/** The organization, and the space where it has limits of its own. */
function scopesOf(context: Context, space: Stored<Space>): Scope[] {
  const { records } = context;
  const scopes: Scope[] = [];
  const own = records.spaceQuotas.get(space.spec.quota ?? '');
  if (own) {
    const { displayName: quota, limits } = own.spec;
    scopes.push({ what: 'space', name: space.spec.displayName, quota, limits, spaces: [space] });
  }
  const organization = records.organizations.get(space.spec.organization);
  const quota = organization && records.organizationQuotas.get(quotaOf(organization));
  if (organization && quota) {
    const spaces = spacesOf(context, organization.metadata.name);
    const { displayName, limits } = quota.spec;
    scopes.push({ what: 'organization', name: organization.spec.displayName, quota: displayName, limits, spaces });
  }
  return scopes;
}

export function spacesOf(context: Context, organization: string): Stored<Space>[] {
  return context.records.spaces.all().filter((space) => space.spec.organization === organization);
}

export function underQuota<Result>(space: Stored<Space>, work: () => Promise<Result>): Promise<Result> {
  return serially(`quota ${space.spec.organization}`, work);
}

export interface Usage {
  memoryMb: number;
  instances: number;
  logRateBytes: number;
}

/** Of the started apps in these spaces, and of the memory and log of their tasks that have not ended. */
export function usageOf(context: Context, spaces: Stored<Space>[]): Usage {
  const { records } = context;
  const processes = spaces
    .flatMap((space) => records.processes.inNamespace(space.spec.namespace))
    .filter((process) => records.apps.get(process.spec.app)?.spec.state === 'STARTED');
  const running = spaces.flatMap((space) => records.tasks.inNamespace(space.spec.namespace)).filter(isLive);
  const tasks = sumOf(running.map(({ spec }) => ({ ...spec, instances: 1 })));
  const apps = sumOf(processes.map((process) => process.spec));
  return {
    memoryMb: apps.memoryMb + tasks.memoryMb,
    instances: apps.instances,
    logRateBytes: apps.logRateBytes + tasks.logRateBytes,
  };
}

function isLive(task: Stored<Task>): boolean {
  return task.status?.state !== 'SUCCEEDED' && task.status?.state !== 'FAILED';
}

/** Throws where one more task of the app would be too much. */
export function requireTask(context: Context, app: Stored<App>, task: { memoryMb: number }): void {
  const space = context.records.spaceOf(app);
  if (!space) return;
  const count = context.records.tasks.ofApp(app.metadata.name).filter(isLive).length + 1;
  for (const scope of scopesOf(context, space)) {
    const { memoryMb } = usageOf(context, scope.spaces);
    refuseAbove(scope, { field: 'app_task_limit', limit: 'tasksPerApp', value: count, unit: 'tasks of an app' });
    refuseAbove(scope, { field: 'memory', limit: 'processMemoryMb', value: task.memoryMb, unit: 'MB an instance' });
    refuseAbove(scope, { field: 'memory', limit: 'memoryMb', value: memoryMb + task.memoryMb, unit: 'MB of memory' });
  }
}

type Size = Pick<Process['spec'], 'instances' | 'memoryMb' | 'logRateLimitBytes'>;

function sumOf(sizes: Size[]): Usage {
  const usage: Usage = { memoryMb: 0, instances: 0, logRateBytes: 0 };
  for (const { instances, memoryMb, logRateLimitBytes } of sizes) {
    usage.memoryMb += instances * memoryMb;
    usage.instances += instances;
    // Without a limit of its own a process may write as much as there is.
    usage.logRateBytes += instances === 0 ? 0 : logRateLimitBytes < 0 ? Infinity : instances * logRateLimitBytes;
  }
  return usage;
}

/**
 * Throws where the app, as it is changed, would use more than it may.
 * @param changes  what its processes (by guid) will be
 * @param options.starting  the app will be started, and uses nothing yet where it is stopped
 */
export function requireProcesses(
  context: Context,
  app: Stored<App>,
  changes: ReadonlyMap<string, Partial<Size>>,
  options: { starting?: boolean } = {},
): void {
  const space = context.records.spaceOf(app);
  if (!space) return;
  const started = app.spec.state === 'STARTED';
  const processes = processesOf(context, app.metadata.name);
  const after = processes.map(({ metadata, spec }) => ({ ...spec, ...changes.get(metadata.name) }));
  const used = started ? sumOf(processes.map(({ spec }) => spec)) : sumOf([]);
  const wanted = started || options.starting ? sumOf(after) : sumOf([]);
  for (const scope of scopesOf(context, space)) {
    const largest = Math.max(
      0,
      ...after
        .filter((_, index) => options.starting || changes.has(processes[index]?.metadata.name ?? ''))
        .map(({ memoryMb }) => memoryMb),
    );
    refuseAbove(scope, { field: 'memory', limit: 'processMemoryMb', value: largest, unit: 'MB an instance' });
    const total = usageOf(context, scope.spaces);
    for (const rule of PROCESS_RULES) {
      if (wanted[rule.usage] <= used[rule.usage]) continue;
      const others = total[rule.usage] - (started ? used[rule.usage] : 0);
      // Infinity less itself is nothing that can be compared.
      const value = Number.isNaN(others) ? Infinity : others + wanted[rule.usage];
      refuseAbove(scope, { ...rule, value });
    }
  }
}

/** Changes a process's size where its quotas allow it. */
export async function changeSizes(
  context: Context,
  process: Stored<Process>,
  change: Partial<Size & Pick<Process['spec'], 'diskMb'>>,
): Promise<Stored<Process>> {
  const app = context.records.apps.get(process.spec.app);
  const space = context.records.spaceOf(process);
  if (change.memoryMb !== undefined) requireRoomForSidecars(context, process, change.memoryMb);
  const modify = () =>
    context.records.processes.modify(process.metadata.name, (current) => ({
      ...current,
      spec: { ...current.spec, ...change },
    }));
  if (!app || !space) return modify();
  return underQuota(space, () => {
    requireProcesses(context, app, new Map([[process.metadata.name, change]]));
    return modify();
  });
}

const PROCESS_RULES = [
  { usage: 'memoryMb', field: 'memory', limit: 'memoryMb', unit: 'MB of memory' },
  { usage: 'instances', field: 'app_instance_limit', limit: 'instances', unit: 'instances' },
  { usage: 'logRateBytes', field: 'log_rate_limit', limit: 'logRateBytes', unit: 'bytes of log a second' },
] as const;

/** The code of what is exceeded, for each scope, as Cloud Foundry's own validations call it. */
const CODES = {
  memoryMb: { organization: 'quota_exceeded', space: 'space_quota_exceeded' },
  processMemoryMb: { organization: 'instance_memory_limit_exceeded', space: 'space_instance_memory_limit_exceeded' },
  instances: { organization: 'app_instance_limit_exceeded', space: 'space_app_instance_limit_exceeded' },
  tasksPerApp: { organization: 'app_task_limit_exceeded', space: 'space_app_task_limit_exceeded' },
  logRateBytes: { organization: 'exceeds organization log rate quota', space: 'exceeds space log rate quota' },
};

function refuseAbove(
  scope: Scope,
  asked: { field: string; limit: keyof typeof CODES; value: number; unit: string },
): void {
  const limit = scope.limits[asked.limit];
  if (limit === null || asked.value <= limit) return;
  const amount = asked.value === Infinity ? 'no limit' : asked.value;
  throw unprocessable(
    `${asked.field} ${CODES[asked.limit][scope.what]}: the quota "${scope.quota}" of ${scope.what} "${scope.name}" allows ${limit} ${asked.unit}, and this would make it ${amount}.`,
  );
}

/** Instances of brokers' services: what users provide counts for nothing. */
export function managedInstances({ records }: Context, spaces: Stored<Space>[]): Stored<ServiceInstance>[] {
  return spaces
    .flatMap(({ spec }) => records.serviceInstances.inNamespace(spec.namespace))
    .filter(({ spec }) => spec.managed !== undefined);
}

export function keysOf({ records }: Context, spaces: Stored<Space>[]): Stored<ServiceBinding>[] {
  return spaces
    .flatMap(({ spec }) => records.serviceBindings.inNamespace(spec.namespace))
    .filter((binding) => bindingKind(binding) === 'key');
}

/** Throws where one more instance, or one of this plan, is not allowed. `more`: 0 where an instance only gets another plan. */
export function requireInstance(
  context: Context,
  space: Stored<Space>,
  { free, more }: { free: boolean; more: 0 | 1 },
): void {
  for (const { what, limits, spaces } of scopesOf(context, space)) {
    const limit = limits.serviceInstances;
    if (more > 0 && limit !== null && managedInstances(context, spaces).length + more > limit) {
      throw unprocessable(`You have exceeded your ${what}'s services limit.`);
    }
    if (free || limits.paidServices) continue;
    const where = what === 'space' ? ' for your space' : '';
    throw unprocessable(`The service instance cannot be created because paid service plans are not allowed${where}.`);
  }
}

export function requireKey(context: Context, space: Stored<Space>): void {
  for (const { what, limits, spaces } of scopesOf(context, space)) {
    if (limits.serviceKeys === null || keysOf(context, spaces).length < limits.serviceKeys) continue;
    throw unprocessable(`You have exceeded your ${what}'s limit for service binding of type key.`);
  }
}

/** Throws where one more route, with a port of its own or without, would be too much. */
export function requireRoute(context: Context, space: Stored<Space>, { port }: { port: boolean }): void {
  for (const { what, name, limits, spaces } of scopesOf(context, space)) {
    const routes = spaces.flatMap(({ spec }) => context.records.routes.inNamespace(spec.namespace));
    if (limits.routes !== null && routes.length >= limits.routes)
      throw unprocessable(`Routes quota exceeded for ${what} '${name}'.`);
    const ports = routes.filter(({ spec }) => spec.port !== undefined).length;
    if (port && limits.reservedPorts !== null && ports >= limits.reservedPorts)
      throw unprocessable(`Reserved route ports quota exceeded for ${what} '${name}'.`);
  }
}

export function requireDomain(context: Context, organization: Stored<Organization>): void {
  const limit = context.records.organizationQuotas.get(quotaOf(organization))?.spec.limits.domains ?? null;
  const count = context.records.domains
    .all()
    .filter((domain) => domain.spec.organization === organization.metadata.name).length;
  if (limit !== null && count >= limit) {
    throw unprocessable(
      `The number of private domains exceeds the quota for organization "${organization.spec.displayName}"`,
    );
  }
}

export async function setSpaceQuota(context: Context, space: string, quota: string | undefined): Promise<void> {
  await context.records.spaces.modify(space, (current) => {
    const { quota: before, ...spec } = current.spec;
    if (before === quota) return undefined;
    return { ...current, spec: quota === undefined ? spec : { ...spec, quota } };
  });
}

/** Its spaces have none then. */
export async function deleteSpaceQuota(context: Context, quota: Stored<SpaceQuota>): Promise<void> {
  const { name } = quota.metadata;
  for (const space of context.records.spaces.all()) {
    if (space.spec.quota === name) await setSpaceQuota(context, space.metadata.name, undefined);
  }
  await context.records.spaceQuotas.delete(name);
  const holder = { resource: 'spacequotas', name };
  await context.reservations.release('spacequota', [quota.spec.organization, quota.spec.displayName], holder);
}
