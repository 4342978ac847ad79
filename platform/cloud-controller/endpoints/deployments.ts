import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, type AppDeployment, type Droplet, labels, type Revision } from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { processesOf } from '../operations/app-create.ts';
import {
  emit,
  ensureProcesses,
  ensureRevision,
  nextGeneration,
  record,
  requireCommands,
  usableDroplet,
} from '../operations/app-lifecycle.ts';
import { readEnvironment, writeEnvironment } from '../operations/environment.ts';
import { presentRevision } from '../present/apps.ts';
import { link } from '../present/base.ts';
import { presentDeployment } from '../present/routes.ts';
import { ownedBy } from '../records.ts';
import { isObject, mergeMetadata, Reader } from '../validate.ts';
import { readApp } from './apps.ts';

export function showDeployment(context: Context, deployment: Stored<AppDeployment>): Json {
  const { records } = context;
  const version = records.revisions.get(deployment.spec.revision ?? '')?.spec.version;
  return presentDeployment(context.urls, deployment, {
    processes: processesOf(context, deployment.spec.app).map((process) => ({
      guid: process.metadata.name,
      type: process.spec.type,
    })),
    ...(version === undefined ? {} : { revisionVersion: version }),
  });
}

export function deploymentEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const value = (deployment: Stored<AppDeployment>) => deployment.status?.value ?? 'ACTIVE';
  const reason = (deployment: Stored<AppDeployment>) => deployment.status?.reason ?? 'DEPLOYING';
  return [
    {
      method: 'GET',
      path: '/v3/deployments',
      auth: 'user',
      summary: 'List deployments.',
      handle: (request) =>
        listReply(context, request, {
          items: access.visible(request.identity, records.deployments.all()),
          present: (deployment) => showDeployment(context, deployment),
          filters: {
            app_guids: (item, values) => values.includes(item.spec.app),
            states: (item, values) => values.includes(value(item) === 'ACTIVE' ? 'DEPLOYING' : reason(item)),
            status_values: (item, values) => values.includes(value(item)),
            status_reasons: (item, values) => values.includes(reason(item)),
          },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/deployments',
      auth: 'user',
      summary: 'Bring a droplet or an older revision without an interruption.',
      handle: (request) => postDeployment(context, request),
    },
    {
      method: 'GET',
      path: '/v3/deployments/:guid',
      auth: 'user',
      summary: 'Get a deployment.',
      handle: (request) =>
        ok(
          showDeployment(
            context,
            access.read(request.identity, records.deployments, request.params.guid ?? '', 'Deployment'),
          ),
        ),
    },
    {
      method: 'PATCH',
      path: '/v3/deployments/:guid',
      auth: 'user',
      summary: "Change a deployment's metadata.",
      handle: async (request) => {
        const deployment = access.write(request.identity, records.deployments, request.params.guid ?? '', 'Deployment');
        const reader = new Reader(request.body).only('metadata');
        const metadata = reader.metadata();
        reader.done();
        const changed = await records.deployments.modify(deployment.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, userMetadata: mergeMetadata(current.spec.userMetadata, metadata) },
        }));
        return ok(showDeployment(context, changed));
      },
    },
    {
      method: 'POST',
      path: '/v3/deployments/:guid/actions/cancel',
      auth: 'user',
      summary: 'Cancel a deployment: the old version takes over again.',
      handle: async (request) => {
        const deployment = access.write(request.identity, records.deployments, request.params.guid ?? '', 'Deployment');
        if (value(deployment) !== 'ACTIVE') throw unprocessable(`Cannot cancel a ${reason(deployment)} deployment`);
        await records.deployments.modify(deployment.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, cancelled: true },
        }));
        const app = records.apps.get(deployment.spec.app);
        if (app) {
          await record(context, request.identity, app, 'audit.app.deployment.cancel', {
            deployment_guid: deployment.metadata.name,
          });
        }
        return ok(undefined);
      },
    },
    ...revisionEndpoints(context),
  ];
}

async function postDeployment(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const reader = new Reader(request.body).only(
    'droplet',
    'revision',
    'strategy',
    'options',
    'relationships',
    'metadata',
  );
  const appGuid = reader.relationship('app', { required: true });
  const strategy = reader.string('strategy') ?? 'rolling';
  if (strategy !== 'rolling' && strategy !== 'recreate') {
    reader.fail(
      `Strategy ${JSON.stringify(strategy.slice(0, 40))} is not a supported deployment strategy; use "rolling" or "recreate"`,
    );
  }
  const maxInFlight = reader.object('options')?.integer('max_in_flight', { min: 1, max: 1000 });
  const dropletGuid = isObject(request.body.droplet) ? request.body.droplet.guid : undefined;
  const revisionGuid = isObject(request.body.revision) ? request.body.revision.guid : undefined;
  if (dropletGuid !== undefined && revisionGuid !== undefined)
    reader.fail("Cannot set both fields 'droplet' and 'revision'");
  const metadata = reader.metadata();
  reader.done();
  const app = records.apps.get(appGuid ?? '');
  const space = app && records.spaceOf(app);
  if (!app || !space || !access.readsSpace(request.identity, space)) {
    throw unprocessable('Unable to use app. Ensure that the app exists and you have access to it.');
  }
  if (!access.writesSpace(request.identity, space)) throw notAuthorized();
  const rollback = revisionGuid === undefined ? undefined : rollbackTarget(context, app, String(revisionGuid));
  const wanted = rollback?.spec.droplet ?? dropletGuid ?? app.spec.currentDroplet;
  if (typeof wanted !== 'string')
    throw unprocessable(
      'Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.',
    );
  const droplet = usableDroplet(context, app, wanted);
  await ensureProcesses(context, app, droplet);
  if (rollback) await restore(context, app, rollback);
  requireCommands(context, app, droplet);
  const revision = await ensureRevision(
    context,
    app,
    droplet,
    rollback && `Rolled back to revision ${rollback.spec.version}.`,
  );
  const generation = nextGeneration(context, app);
  const guid = randomUUID();
  const stopped = app.spec.state === 'STOPPED';
  let deployment = await records.deployments.create({
    metadata: {
      name: guid,
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    spec: {
      app: app.metadata.name,
      strategy: strategy === 'recreate' ? 'recreate' : 'rolling',
      droplet: droplet.metadata.name,
      ...(app.spec.currentDroplet === undefined ? {} : { previousDroplet: app.spec.currentDroplet }),
      revision: revision.metadata.name,
      maxInFlight: maxInFlight ?? 1,
      generation,
      userMetadata: mergeMetadata(undefined, metadata),
    },
  });
  if (stopped) {
    // Nothing runs that could be replaced: this is a start.
    await records.apps.modify(app.metadata.name, (current) => ({
      ...current,
      spec: {
        ...current.spec,
        state: 'STARTED',
        currentDroplet: droplet.metadata.name,
        currentRevision: revision.metadata.name,
        generation,
      },
    }));
    deployment = await records.deployments.modifyStatus(guid, (current) => ({
      ...current,
      status: { value: 'FINALIZED', reason: 'DEPLOYED', lastStatusChange: new Date().toISOString() },
    }));
  }
  await record(context, request.identity, app, 'audit.app.deployment.create', {
    deployment_guid: guid,
    droplet_guid: droplet.metadata.name,
    strategy,
    request: request.body,
  });
  emit(context, app, 'Updated', `deployment ${guid}`);
  return created(showDeployment(context, deployment));
}

function rollbackTarget(context: Context, app: Stored<App>, guid: string): Stored<Revision> {
  const revision = context.records.revisions.get(guid);
  if (!revision || revision.spec.app !== app.metadata.name) throw unprocessable('The revision does not exist');
  const droplet: Stored<Droplet> | undefined = context.records.droplets.get(revision.spec.droplet);
  if (!droplet || !revision.spec.deployable) {
    throw unprocessable('Unable to deploy this revision, the droplet for this revision no longer exists.');
  }
  return revision;
}

/** The revision's environment and commands become the app's again. */
async function restore(context: Context, app: Stored<App>, revision: Stored<Revision>): Promise<void> {
  const environment = await readEnvironment(context.client, app.metadata.namespace ?? '', revision.metadata.name);
  await writeEnvironment(context, app, app.metadata.name, environment);
  const droplet = context.records.droplets.get(revision.spec.droplet);
  for (const process of processesOf(context, app.metadata.name)) {
    const command = revision.spec.commands[process.spec.type];
    const ofDroplet = droplet?.spec.processTypes[process.spec.type];
    await context.records.processes.modify(process.metadata.name, (current) => {
      const { command: old, ...spec } = current.spec;
      const wanted = command === ofDroplet ? undefined : command;
      return old === wanted
        ? undefined
        : { ...current, spec: { ...spec, ...(wanted === undefined ? {} : { command: wanted }) } };
    });
  }
}

function revisionEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (revision: Stored<Revision>): Json =>
    presentRevision(urls, {
      ...revision,
      spec: {
        ...revision.spec,
        deployable: revision.spec.deployable && records.droplets.get(revision.spec.droplet) !== undefined,
      },
    });
  const list = (request: ApiRequest, items: Stored<Revision>[]) =>
    listReply(context, request, {
      items,
      present,
      filters: { versions: (item, values) => values.includes(String(item.spec.version)) },
      orders: { version: (item) => item.spec.version },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  const read = (request: ApiRequest) =>
    access.read(request.identity, records.revisions, request.params.guid ?? '', 'Revision');
  return [
    {
      method: 'GET',
      path: '/v3/apps/:guid/revisions',
      auth: 'user',
      summary: 'List the revisions of an app.',
      handle: (request) => list(request, records.revisions.ofApp(readApp(context, request).metadata.name)),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/revisions/deployed',
      auth: 'user',
      summary: 'List the revisions of an app that run.',
      handle: (request) => {
        const app = readApp(context, request);
        const running = new Set<string>();
        if (app.spec.state === 'STARTED' && app.spec.currentRevision) running.add(app.spec.currentRevision);
        for (const deployment of records.deployments.ofApp(app.metadata.name)) {
          if ((deployment.status?.value ?? 'ACTIVE') === 'ACTIVE' && deployment.spec.revision)
            running.add(deployment.spec.revision);
        }
        return list(
          request,
          records.revisions.ofApp(app.metadata.name).filter((revision) => running.has(revision.metadata.name)),
        );
      },
    },
    {
      method: 'GET',
      path: '/v3/revisions/:guid',
      auth: 'user',
      summary: 'Get a revision.',
      handle: (request) => ok(present(read(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/revisions/:guid',
      auth: 'user',
      summary: "Change a revision's metadata.",
      handle: async (request) => {
        const revision = access.write(request.identity, records.revisions, request.params.guid ?? '', 'Revision');
        const reader = new Reader(request.body).only('metadata');
        const metadata = reader.metadata();
        reader.done();
        const changed = await records.revisions.modify(revision.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, userMetadata: mergeMetadata(current.spec.userMetadata, metadata) },
        }));
        return ok(present(changed));
      },
    },
    {
      method: 'GET',
      path: '/v3/revisions/:guid/environment_variables',
      auth: 'user',
      summary: 'Get the environment variables that a revision ran with.',
      handle: async (request) => {
        const revision = access.write(request.identity, records.revisions, request.params.guid ?? '', 'Revision');
        if (!revision.metadata.namespace) throw notFound('Revision');
        const self = `${urls.api}/v3/revisions/${revision.metadata.name}`;
        return ok({
          var: await readEnvironment(context.client, revision.metadata.namespace, revision.metadata.name),
          links: {
            self: link(`${self}/environment_variables`),
            revision: link(self),
            app: link(`${urls.api}/v3/apps/${revision.spec.app}`),
          },
        });
      },
    },
  ];
}
