/**
 * Starting, stopping, restarting, droplets and revisions.
 *
 * What runs is said by the App alone: its state, its generation and its revision. A start makes the revision and its
 * environment first, and then turns the App in one write; the workload controllers do the rest.
 */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { startsByImage } from '../../resources/droplets.ts';
import { type App, type Droplet, labels, type Revision, type SidecarFacts, type Space } from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { dropletState } from '../present/apps.ts';
import { ownedBy } from '../records.ts';
import { ensureProcess, processesOf } from './app-create.ts';
import { type Environment, keepGroup, readEnvironment, sameEnvironment, writeEnvironment } from './environment.ts';
import { requireProcesses, underQuota } from './quota.ts';
import { keepServices } from './services.ts';
import { serially } from './serially.ts';
import { sidecarFactsOf } from './sidecars.ts';

/** Above every generation that the app or one of its deployments has had. */
export function nextGeneration(context: Context, app: Stored<App>, spec: App['spec'] = app.spec): number {
  const used = context.records.deployments.ofApp(app.metadata.name).map((deployment) => deployment.spec.generation);
  return Math.max(spec.generation, ...used) + 1;
}

/** The droplet, when it can run this app. */
export function usableDroplet(context: Context, app: Stored<App>, guid: string): Stored<Droplet> {
  const droplet = context.records.droplets.get(guid);
  if (!droplet || droplet.spec.app !== app.metadata.name || dropletState(droplet) !== 'STAGED') {
    throw unprocessable('Unable to assign current droplet. Ensure the droplet exists and belongs to this app.');
  }
  return droplet;
}

/** Makes a droplet the app's: it runs at the next start. New process types get a process. */
export async function assignDroplet(
  context: Context,
  identity: Identity,
  app: Stored<App>,
  guid: string,
): Promise<Stored<App>> {
  const droplet = usableDroplet(context, app, guid);
  await ensureProcesses(context, app, droplet);
  const changed = await context.records.apps.modify(app.metadata.name, (current) =>
    current.spec.currentDroplet === guid ? undefined : { ...current, spec: { ...current.spec, currentDroplet: guid } },
  );
  await record(context, identity, changed, 'audit.app.droplet.mapped', { request: { droplet_guid: guid } });
  return changed;
}

export async function ensureProcesses(context: Context, app: Stored<App>, droplet: Stored<Droplet>): Promise<void> {
  await ensureProcess(context, app, 'web');
  for (const type of Object.keys(droplet.spec.processTypes)) await ensureProcess(context, app, type);
}

/** What each process runs: the user's command, or the droplet's. Null: the image knows (docker). */
export function commandsOf(context: Context, app: Stored<App>, droplet: Stored<Droplet>): Record<string, string> {
  const commands: Record<string, string> = {};
  for (const process of processesOf(context, app.metadata.name)) {
    const command = process.spec.command ?? droplet.spec.processTypes[process.spec.type];
    if (command !== undefined) commands[process.spec.type] = command;
  }
  return commands;
}

/**
 * The newest revision when nothing changed since, else a new one; with the variables that all apps have now. An app that keeps none
 * has one too, without a version: pods are made of it.
 */
export async function ensureRevision(
  context: Context,
  app: Stored<App>,
  droplet: Stored<Droplet>,
  options: { identity: Identity; description?: string | undefined },
): Promise<Stored<Revision>> {
  const { revision, isNew } = await findRevision(context, app, droplet, options.description);
  const { name } = revision.metadata;
  const told = { revision_guid: name, revision_version: revision.spec.version, droplet_guid: droplet.metadata.name };
  await Promise.all([
    isNew && isVersion(revision)
      ? record(context, options.identity, app, 'audit.app.revision.create', told)
      : undefined,
    keepGroup(context, app, 'running', name),
    keepServices(context, app, name),
  ]);
  return revision;
}

async function findRevision(
  context: Context,
  app: Stored<App>,
  droplet: Stored<Droplet>,
  given: string | undefined,
): Promise<{ revision: Stored<Revision>; isNew: boolean }> {
  let description = given;
  const namespace = app.metadata.namespace ?? '';
  const commands = commandsOf(context, app, droplet);
  const sidecars = sidecarFactsOf(context, app);
  const latest = latestRevision(context, app);
  const compared = description === undefined ? latest : undefined;
  const [environment, old] = await Promise.all([
    readEnvironment(context.client, namespace, app.metadata.name),
    compared ? readEnvironment(context.client, namespace, compared.metadata.name) : {},
  ]);
  if (compared) {
    const now = { droplet: droplet.metadata.name, commands, sidecars, environment, old };
    const changes = describeChanges(compared, now);
    if (changes.length === 0) return { revision: compared, isNew: false };
    description = changes.join(' ');
  }
  const guid = randomUUID();
  await writeEnvironment(context, app, guid, environment);
  const revision = await context.records.revisions.create({
    metadata: { name: guid, namespace, labels: { [labels.app]: app.metadata.name }, ownerReferences: ownedBy(app) },
    spec: {
      app: app.metadata.name,
      version: keepsRevisions(app) ? (latest?.spec.version ?? 0) + 1 : 0,
      droplet: droplet.metadata.name,
      commands,
      ...(sidecars.length === 0 ? {} : { sidecars }),
      description: description ?? 'Initial revision.',
      deployable: true,
    },
  });
  return { revision, isNew: true };
}

export function keepsRevisions({ spec }: App): boolean {
  return spec.revisions ?? true;
}

/** Whether people are shown it. */
export function isVersion({ spec }: Revision): boolean {
  return spec.version > 0;
}

/** What a start is compared with: the newest version, or what ran last where there are to be none. */
function latestRevision({ records }: Context, app: Stored<App>): Stored<Revision> | undefined {
  const keeps = keepsRevisions(app);
  if (!keeps && app.spec.currentRevision !== undefined) return records.revisions.get(app.spec.currentRevision);
  return records.revisions
    .ofApp(app.metadata.name)
    .filter(isVersion)
    .reduce<Stored<Revision> | undefined>(
      (newest, revision) => (newest && newest.spec.version > revision.spec.version ? newest : revision),
      undefined,
    );
}

function describeChanges(
  latest: Stored<Revision>,
  now: {
    droplet: string;
    commands: Record<string, string>;
    sidecars: SidecarFacts[];
    environment: Environment;
    old: Environment;
  },
): string[] {
  const changes: string[] = [];
  if (latest.spec.droplet !== now.droplet) changes.push('New droplet deployed.');
  if (!sameEnvironment(now.old, now.environment)) changes.push('New environment variables deployed.');
  for (const type of new Set([...Object.keys(latest.spec.commands), ...Object.keys(now.commands)])) {
    if (latest.spec.droplet === now.droplet && latest.spec.commands[type] !== now.commands[type]) {
      changes.push(`Custom start command updated for '${type}' process.`);
    }
  }
  if (JSON.stringify(latest.spec.sidecars ?? []) !== JSON.stringify(now.sidecars)) changes.push('Sidecars updated.');
  return changes;
}

/** `start` of what runs already does nothing; `restart` always brings new instances. */
export function startApp(
  context: Context,
  identity: Identity,
  app: Stored<App>,
  options: { restart: boolean },
): Promise<Stored<App>> {
  // Two at once would give two versions one generation.
  return serially(app.metadata.name, () =>
    startNow(context, identity, context.records.apps.get(app.metadata.name) ?? app, options),
  );
}

async function startNow(
  context: Context,
  identity: Identity,
  app: Stored<App>,
  options: { restart: boolean },
): Promise<Stored<App>> {
  if (app.spec.state === 'STARTED' && !options.restart) return app;
  if (app.spec.currentDroplet === undefined) throw unprocessable('Assign a droplet before starting this app.');
  const droplet = usableDroplet(context, app, app.spec.currentDroplet);
  await ensureProcesses(context, app, droplet);
  requireCommands(context, app, droplet);
  const revision = await ensureRevision(context, app, droplet, { identity });
  const turn = () =>
    context.records.apps.modify(app.metadata.name, (current) => ({
      ...current,
      spec: {
        ...current.spec,
        state: 'STARTED',
        generation: nextGeneration(context, app, current.spec),
        currentRevision: revision.metadata.name,
      },
    }));
  const space = context.records.spaceOf(app);
  const changed = await (space
    ? underQuota(space, () => {
        requireProcesses(context, app, new Map(), { starting: true });
        return turn();
      })
    : turn());
  const action = options.restart ? 'restart' : 'start';
  await record(context, identity, changed, `audit.app.${action}`, { request: {} });
  emit(context, changed, options.restart ? 'Restarted' : 'Started');
  return changed;
}

/** A buildpack's process without a command can never start: better said now than as a crash. */
export function requireCommands(context: Context, app: Stored<App>, droplet: Stored<Droplet>): void {
  if (startsByImage(droplet)) return;
  const commands = commandsOf(context, app, droplet);
  const without = processesOf(context, app.metadata.name).filter(
    (process) => process.spec.instances > 0 && !commands[process.spec.type],
  );
  if (without.length === 0) return;
  const types = without.map((process) => `'${process.spec.type}'`).join(', ');
  throw unprocessable(
    `No start command for the process ${types}: give one with a Procfile, in the manifest, or with the -c option of push.`,
  );
}

export async function stopApp(context: Context, identity: Identity, app: Stored<App>): Promise<Stored<App>> {
  if (app.spec.state === 'STOPPED') return app;
  const changed = await context.records.apps.modify(app.metadata.name, (current) => ({
    ...current,
    spec: { ...current.spec, state: 'STOPPED' },
  }));
  await record(context, identity, changed, 'audit.app.stop', { request: {} });
  emit(context, changed, 'Stopped');
  return changed;
}

export function emit(context: Context, app: Stored<App>, verb: string, details = ''): void {
  const message = `${verb} app with guid ${app.metadata.name}${details === '' ? '' : ` (${details})`}`;
  context.logs.emit({ sourceId: app.metadata.name, sourceType: 'API', message });
}

export async function record(
  context: Context,
  identity: Identity,
  app: Stored<App>,
  type: string,
  data: Record<string, unknown>,
): Promise<void> {
  const space: Stored<Space> | undefined = context.records.spaceOf(app);
  await context.audit.record({
    type,
    actor: identity,
    target: { guid: app.metadata.name, type: 'app', name: app.spec.displayName },
    ...(space ? { space } : {}),
    data,
  });
}
