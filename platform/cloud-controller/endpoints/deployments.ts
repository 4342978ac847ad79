import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { deploymentValue } from '../../resources/deployments.ts';
import {
  type App,
  type AppDeployment,
  type Droplet,
  labels,
  type Revision,
  type UserMetadata,
} from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { broughtProcesses } from '../deploying.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { processesOf } from '../operations/app-create.ts';
import {
  emit,
  ensureProcesses,
  ensureRevision,
  isVersion,
  keepsRevisions,
  nextGeneration,
  record,
  requireCommands,
  usableDroplet,
} from '../operations/app-lifecycle.ts';
import { readEnvironment, writeEnvironment } from '../operations/environment.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { changeSizes } from '../operations/quota.ts';
import { serially } from '../operations/serially.ts';
import { restoreSidecars } from '../operations/sidecars.ts';
import { deploymentReason, presentDeployment } from '../present/routes.ts';
import { ownedBy } from '../records.ts';
import { readSizes, SIZE_FIELDS } from '../sizes.ts';
import { isObject, mergeMetadata, Reader } from '../validate.ts';
import { whenSettled } from '../waiting.ts';

export function showDeployment(context: Context, deployment: Stored<AppDeployment>): Json {
  const { records } = context;
  const { revision: guid } = deployment.spec;
  const revision = records.revisions.get(guid ?? '');
  const isShown = guid !== undefined && (!revision || isVersion(revision));
  return presentDeployment(context.urls, deployment, {
    processes: broughtProcesses(context, deployment).map(({ metadata: { name }, spec: { type } }) => ({
      guid: name,
      type,
    })),
    ...(isShown ? { revision: { guid, version: revision?.spec.version ?? null } } : {}),
  });
}

export function deploymentEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const value = deploymentValue;
  const reason = deploymentReason;
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
      handle: async (request) => {
        const guid = request.params.guid ?? '';
        const read = () => access.read(request.identity, records.deployments, guid, 'Deployment');
        read();
        await whenSettled(request, records.deployments.informer, () => {
          const deployment = records.deployments.get(guid);
          return deployment === undefined || value(deployment) !== 'ACTIVE' || reason(deployment) === 'PAUSED';
        });
        return ok(showDeployment(context, read()));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/deployments/:guid',
      auth: 'user',
      summary: "Change a deployment's metadata.",
      handle: async (request) => {
        const deployment = access.write(request.identity, records.deployments, request.params.guid ?? '', 'Deployment');
        const changed = await changeMetadata(records.deployments, deployment, request.body);
        return ok(showDeployment(context, changed));
      },
    },
    {
      method: 'POST',
      path: '/v3/deployments/:guid/actions/cancel',
      auth: 'user',
      summary: 'Cancel a deployment: the old version takes over again.',
      handle: async (request) => {
        const deployment = access.operate(
          request.identity,
          records.deployments,
          request.params.guid ?? '',
          'Deployment',
        );
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
    {
      method: 'POST',
      path: '/v3/deployments/:guid/actions/continue',
      auth: 'user',
      summary: 'Let a canary that waits go on to its next step.',
      handle: async (request) => {
        const guid = request.params.guid ?? '';
        const deployment = access.operate(request.identity, records.deployments, guid, 'Deployment');
        if (value(deployment) !== 'ACTIVE' || reason(deployment) !== 'PAUSED') {
          throw unprocessable(
            `Cannot continue a deployment with status: ${value(deployment)} and reason: ${reason(deployment)}`,
          );
        }
        const step = deployment.status?.step ?? 0;
        // Said twice at once it is one step further all the same.
        await records.deployments.modify(deployment.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, continued: Math.max(current.spec.continued ?? 0, step + 1) },
        }));
        const app = records.apps.get(deployment.spec.app);
        if (app) {
          await record(context, request.identity, app, 'audit.app.deployment.continue', { deployment_guid: guid });
        }
        return ok(undefined);
      },
    },
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
  if (strategy !== 'rolling' && strategy !== 'recreate' && strategy !== 'canary') {
    reader.fail(
      `Strategy ${JSON.stringify(strategy.slice(0, 40))} is not a supported deployment strategy; use "rolling", "canary" or "recreate"`,
    );
  }
  const options = reader.object('options')?.only('max_in_flight', 'canary', 'web_instances', ...SIZE_FIELDS);
  const maxInFlight = options?.integer('max_in_flight', { min: 1, max: 1000 });
  const canarySteps = readSteps(options, strategy);
  const instances = options?.integer('web_instances', { min: 1, max: 1_000 });
  // What it may change of its web process by the way.
  const sizes = { ...(instances !== undefined && { instances }), ...(options && readSizes(options)) };
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
  if (!access.operatesSpace(request.identity, space)) throw notAuthorized();
  const web = processesOf(context, app.metadata.name).find(({ spec }) => spec.type === 'web');
  if (web && Object.keys(sizes).length > 0) await changeSizes(context, web, sizes);
  const deployment = await serially(app.metadata.name, () =>
    deploy(context, request, {
      app: records.apps.get(app.metadata.name) ?? app,
      strategy: strategy as Wanted['strategy'],
      ...(canarySteps === undefined ? {} : { canarySteps }),
      maxInFlight: maxInFlight ?? 1,
      droplet: dropletGuid,
      revision: revisionGuid,
      userMetadata: mergeMetadata(undefined, metadata),
    }),
  );
  return created(showDeployment(context, deployment));
}

/** The shares of a canary's steps, in hundredths; without any there is one step, of one instance. */
function readSteps(options: Reader | undefined, strategy: string): number[] | undefined {
  const canary = options?.object('canary')?.only('steps');
  if (canary && strategy !== 'canary') options?.fail('Canary options are only valid for canary deployments');
  if (strategy !== 'canary') return undefined;
  const steps = canary?.body['steps'] ?? [{ instance_weight: 0 }];
  if (!Array.isArray(steps) || steps.length === 0 || steps.length > 100) {
    options?.fail('Canary steps must be an array of 1 to 100 objects with an instance_weight');
    return undefined;
  }
  const weights = steps.map((step: unknown) => (isObject(step) ? step['instance_weight'] : undefined));
  const whole = weights.every((weight) => typeof weight === 'number' && Number.isInteger(weight) && weight <= 100);
  const given = canary?.body['steps'] !== undefined;
  if (!whole || (given && weights.some((weight) => Number(weight) < 1))) {
    options?.fail('Instance weight must be an integer between 1 and 100 (inclusive)');
  } else if (weights.some((weight, index) => index > 0 && Number(weight) < Number(weights[index - 1]))) {
    options?.fail('Instance weights must be sorted in ascending order');
  }
  return weights.map(Number);
}

interface Wanted {
  app: Stored<App>;
  strategy: AppDeployment['spec']['strategy'];
  canarySteps?: number[];
  maxInFlight: number;
  droplet: unknown;
  revision: unknown;
  userMetadata: UserMetadata;
}

async function deploy(context: Context, request: ApiRequest, input: Wanted): Promise<Stored<AppDeployment>> {
  const { records } = context;
  const { app } = input;
  const rollback = input.revision === undefined ? undefined : rollbackTarget(context, app, String(input.revision));
  const wanted = rollback?.spec.droplet ?? input.droplet ?? app.spec.currentDroplet;
  if (typeof wanted !== 'string')
    throw unprocessable(
      'Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.',
    );
  const droplet = usableDroplet(context, app, wanted);
  await ensureProcesses(context, app, droplet);
  if (rollback) await restore(context, app, rollback);
  requireCommands(context, app, droplet);
  const revision = await ensureRevision(context, app, droplet, {
    identity: request.identity,
    description: rollback && `Rolled back to revision ${rollback.spec.version}.`,
  });
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
      strategy: input.strategy,
      droplet: droplet.metadata.name,
      ...(app.spec.currentDroplet === undefined ? {} : { previousDroplet: app.spec.currentDroplet }),
      revision: revision.metadata.name,
      maxInFlight: input.maxInFlight,
      ...(input.canarySteps === undefined ? {} : { canarySteps: input.canarySteps }),
      generation,
      userMetadata: input.userMetadata,
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
    strategy: input.strategy,
    request: request.body,
  });
  emit(context, app, 'Updated', `deployment ${guid}`);
  return deployment;
}

function rollbackTarget(context: Context, app: Stored<App>, guid: string): Stored<Revision> {
  if (!keepsRevisions(app)) {
    throw unprocessable('Cannot create deployment from a revision for an app without revisions enabled');
  }
  const revision = context.records.revisions.get(guid);
  if (!revision || !isVersion(revision) || revision.spec.app !== app.metadata.name) {
    throw unprocessable('The revision does not exist');
  }
  const droplet: Stored<Droplet> | undefined = context.records.droplets.get(revision.spec.droplet);
  if (!droplet || !revision.spec.deployable) {
    throw unprocessable('Unable to deploy this revision, the droplet for this revision no longer exists.');
  }
  return revision;
}

/** The revision's environment, sidecars and commands become the app's again. */
async function restore(context: Context, app: Stored<App>, revision: Stored<Revision>): Promise<void> {
  const environment = await readEnvironment(context.client, app.metadata.namespace ?? '', revision.metadata.name);
  await writeEnvironment(context, app, app.metadata.name, environment);
  await restoreSidecars(context, app, revision.spec.sidecars ?? []);
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
