/** Makes apps and their processes. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { nameGuid } from '#lib/name-guid.ts';
import type { RegistryLogins } from '../../resources/registry-logins.ts';
import { type App, labels, type Process, type Space, type UserMetadata } from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { CloudFoundryError } from '../errors.ts';
import { ownedBy } from '../records.ts';
import type { Holder } from '../reservations.ts';
import { mergedEnvironment, writeEnvironment } from './environment.ts';
import { putLogins } from './registry-logins.ts';
import { requireStack } from './stack-state.ts';

export interface NewApp {
  name: string;
  space: Stored<Space>;
  lifecycle: App['spec']['lifecycle'];
  logins?: RegistryLogins;
  environment?: Record<string, string | null>;
  userMetadata?: UserMetadata;
}

export function appNameTaken(name: string): CloudFoundryError {
  return new CloudFoundryError('UniquenessError', `App with the name '${name}' already exists.`);
}

/** Names are unique in a space without regard to case. */
export function appNameKey(space: string, name: string): string[] {
  return [space, name.toLowerCase()];
}

export function appHolder(app: { guid: string; namespace: string }): Holder {
  return { resource: 'apps', namespace: app.namespace, name: app.guid };
}

/** In this order: name, app, environment, logins, web process. What is missing after a crash is made when it is needed first. */
export async function createApp(context: Context, identity: Identity, input: NewApp): Promise<Stored<App>> {
  requireStack(context, input.lifecycle, true);
  const guid = randomUUID();
  const { namespace } = input.space.spec;
  const key = appNameKey(input.space.metadata.name, input.name);
  const holder = appHolder({ guid, namespace });
  if (!(await context.reservations.take('appname', key, holder))) throw appNameTaken(input.name);
  let app: Stored<App>;
  try {
    app = await context.records.apps.create({
      metadata: {
        name: guid,
        namespace,
        labels: { ...nameLabel(input.name), [labels.space]: input.space.metadata.name },
      },
      spec: {
        displayName: input.name,
        state: 'STOPPED',
        lifecycle: input.lifecycle,
        generation: 0,
        ...(input.userMetadata ? { userMetadata: input.userMetadata } : {}),
      },
    });
  } catch (error) {
    await context.reservations.release('appname', key, holder);
    throw error;
  }
  const environment = mergedEnvironment({}, input.environment ?? {});
  await Promise.all([
    writeEnvironment(context, app, guid, environment),
    input.logins && putLogins(context, app, input.logins),
    ensureProcess(context, app, 'web'),
  ]);
  await context.audit.record({
    type: 'audit.app.create',
    actor: identity,
    target: { guid, type: 'app', name: input.name },
    space: input.space,
    data: { request: { name: input.name } },
  });
  context.logs.emit({ sourceId: guid, sourceType: 'API', message: `Created app with guid ${guid}` });
  return app;
}

/** A name as a label, where it can be one. */
export function nameLabel(name: string): Record<string, string> {
  return /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(name) ? { [labels.name]: name } : {};
}

/** The process of a type; `web` has the app's own guid, as in Cloud Foundry, and one instance to begin with. */
export async function ensureProcess(context: Context, app: Stored<App>, type: string): Promise<Stored<Process>> {
  const existing = processesOf(context, app.metadata.name).find((process) => process.spec.type === type);
  if (existing) return existing;
  const web = type === 'web';
  const guid = web ? app.metadata.name : processGuid(app.metadata.name, type);
  const known = context.records.processes.get(guid);
  if (known) return known;
  return context.records.processes.create({
    metadata: {
      name: guid,
      namespace: app.metadata.namespace ?? '',
      labels: {
        [labels.app]: app.metadata.name,
        [labels.processType]: labelValue(type),
        ...(app.metadata.labels?.[labels.space] ? { [labels.space]: app.metadata.labels[labels.space] } : {}),
      },
      ownerReferences: ownedBy(app),
    },
    spec: {
      app: app.metadata.name,
      type,
      instances: web ? 1 : 0,
      memoryMb: context.defaults.memoryMb,
      diskMb: context.defaults.diskMb,
      healthCheck: { type: web ? 'port' : 'process' },
      readinessCheck: { type: 'process' },
      logRateLimitBytes: -1,
    },
  } as Process);
}

export function processesOf(context: Context, app: string): Stored<Process>[] {
  return context.records.processes
    .ofApp(app)
    .filter((process) => !process.metadata.deletionTimestamp)
    .sort((a, b) => (a.spec.type === 'web' ? -1 : b.spec.type === 'web' ? 1 : a.spec.type < b.spec.type ? -1 : 1));
}

/** The same for the same app and type, so that two that make it at once make one. */
function processGuid(app: string, type: string): string {
  return nameGuid(`${app}\n${type}`);
}

/** A process type is `[a-zA-Z0-9_-]`, which a label takes, except at its ends and beyond 63 characters. */
export function labelValue(text: string): string {
  return text
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 63)
    .replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}
