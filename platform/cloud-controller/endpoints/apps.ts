import type { Stored } from '#cluster/kinds/kind.ts';
import type { RegistryLogins } from '../../resources/registry-logins.ts';
import type { App } from '../../resources/types.ts';
import { buildpackAddress, builderOf, dockerfileOf } from '../../staging/catalogue.ts';
import { DOCKERFILE_BUILDPACK } from '../../staging/dockerfiles/dockerfiles.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { spaceIncludes } from '../includes.ts';
import { includedOf, listReply } from '../listing.ts';
import { appHolder, appNameKey, appNameTaken, createApp, nameLabel } from '../operations/app-create.ts';
import { catalogue } from '../operations/buildpacks.ts';
import { assignDroplet, emit, record, startApp, stopApp } from '../operations/app-lifecycle.ts';
import { deleteApp } from '../operations/deletions.ts';
import { hasLogins, parseLogins, putLogins, withoutLogins } from '../operations/registry-logins.ts';
import { presentApp, presentDroplet } from '../present/apps.ts';
import { link } from '../present/base.ts';
import { presented } from '../presented.ts';
import { environmentProblems, isObject, mergeMetadata, Reader } from '../validate.ts';

export function spaceGuid(context: Context, object: Stored<App>): string {
  return context.records.spaceOf(object)?.metadata.name ?? '';
}

export function readApp(context: Context, request: ApiRequest): Stored<App> {
  return context.access.read(request.identity, context.records.apps, request.params.guid ?? '', 'App');
}

export function writeApp(context: Context, request: ApiRequest): Stored<App> {
  return context.access.write(request.identity, context.records.apps, request.params.guid ?? '', 'App');
}

/** For what space supporters may do too. */
export function operateApp(context: Context, request: ApiRequest): Stored<App> {
  return context.access.operate(request.identity, context.records.apps, request.params.guid ?? '', 'App');
}

export function readAppSecrets(context: Context, request: ApiRequest): Stored<App> {
  return context.access.readSecrets(request.identity, context.records.apps, request.params.guid ?? '', 'App');
}

export function appEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (app: Stored<App>) => presentApp(urls, app, spaceGuid(context, app));
  const bytes = presented(present);
  const includes = spaceIncludes<App>(context);
  const action =
    (run: (request: ApiRequest, app: Stored<App>) => Promise<Stored<App>>, find = operateApp) =>
    async (request: ApiRequest): Promise<Reply> =>
      ok(present(await run(request, find(context, request))));
  return [
    {
      method: 'GET',
      path: '/v3/apps',
      auth: 'user',
      summary: 'List apps.',
      handle: (request) =>
        listReply(context, request, {
          items: access.visible(request.identity, records.apps.all()),
          present: bytes,
          filters: {
            names: (item, values) => values.some((value) => sameName(value, item.spec.displayName)),
            space_guids: (item, values) => values.includes(spaceGuid(context, item)),
            organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
            stacks: (item, values) =>
              values.includes(item.spec.lifecycle.type === 'docker' ? '' : item.spec.lifecycle.stack),
            lifecycle_type: (item, values) => values.includes(item.spec.lifecycle.type),
          },
          orders: { name: (item) => item.spec.displayName, state: (item) => item.spec.state },
          includes,
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/apps',
      auth: 'user',
      summary: 'Create an app.',
      handle: (request) => postApp(context, request),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid',
      auth: 'user',
      summary: 'Get an app.',
      handle: (request) => {
        const app = readApp(context, request);
        const included = includedOf(request.query.get('include'), [app], { includes });
        return ok({ ...present(app), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'PATCH',
      path: '/v3/apps/:guid',
      auth: 'user',
      summary: 'Rename an app, change its lifecycle or its metadata.',
      handle: action((request, app) => patchApp(context, request, app), writeApp),
    },
    {
      method: 'DELETE',
      path: '/v3/apps/:guid',
      auth: 'user',
      summary: 'Delete an app and everything of it; its routes stay, mapped to nothing.',
      handle: (request) => {
        const app = writeApp(context, request);
        const job = context.jobs.start('app.delete', () => deleteApp(context, request.identity, app), {
          target: app.metadata.name,
        });
        return accepted(context, job);
      },
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/actions/start',
      auth: 'user',
      summary: 'Start an app with its current droplet.',
      handle: action((request, app) => startApp(context, request.identity, app, { restart: false })),
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/actions/stop',
      auth: 'user',
      summary: 'Stop an app.',
      handle: action((request, app) => stopApp(context, request.identity, app)),
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/actions/restart',
      auth: 'user',
      summary: 'Stop all instances of an app and start new ones.',
      handle: action((request, app) => startApp(context, request.identity, app, { restart: true })),
    },
    {
      method: 'PATCH',
      path: '/v3/apps/:guid/relationships/current_droplet',
      auth: 'user',
      summary: 'Choose the droplet that runs from the next start on.',
      handle: async (request) => {
        const app = operateApp(context, request);
        const data = request.body.data;
        const guid = isObject(data) ? data.guid : undefined;
        if (typeof guid !== 'string')
          throw unprocessable('Data must be structured like this: "data": {"guid": "valid-guid"}');
        await assignDroplet(context, request.identity, app, guid);
        return ok(currentDropletRelationship(context, app.metadata.name, guid));
      },
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/relationships/current_droplet',
      auth: 'user',
      summary: 'Get which droplet is current.',
      handle: (request) => {
        const app = readApp(context, request);
        if (app.spec.currentDroplet === undefined) throw notFound('Droplet');
        return ok(currentDropletRelationship(context, app.metadata.name, app.spec.currentDroplet));
      },
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/droplets/current',
      auth: 'user',
      summary: 'Get the current droplet.',
      handle: (request) => {
        const droplet = records.droplets.get(readApp(context, request).spec.currentDroplet ?? '');
        if (!droplet) throw notFound('Droplet');
        return ok(presentDroplet(urls, droplet));
      },
    },
  ];
}

function currentDropletRelationship(context: Context, app: string, droplet: string) {
  const self = `${context.urls.api}/v3/apps/${app}`;
  return {
    data: { guid: droplet },
    links: { self: link(`${self}/relationships/current_droplet`), related: link(`${self}/droplets/current`) },
  };
}

function sameName(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase();
}

export interface AskedLifecycle {
  lifecycle: App['spec']['lifecycle'];
  /** Instead of those that the app has. */
  logins?: RegistryLogins;
}

/** Of a request body: `{type, data}`. Undefined when it says nothing. */
export function readLifecycle(
  context: Context,
  reader: Reader,
  current?: App['spec']['lifecycle'],
): AskedLifecycle | undefined {
  const lifecycle = reader.object('lifecycle');
  if (!lifecycle) return undefined;
  const type = lifecycle.string('type') ?? current?.type ?? 'buildpack';
  if (type === 'docker') return { lifecycle: { type } };
  if (type !== 'buildpack' && type !== 'cnb') {
    const shown = JSON.stringify(type.slice(0, 40));
    reader.fail(`Lifecycle type ${shown} is not supported; use "buildpack", "cnb" or "docker"`);
    return undefined;
  }
  if (current !== undefined && current.type !== type) reader.fail('Lifecycle type cannot be changed');
  const data = lifecycle.object('data');
  const old = current?.type === 'docker' ? undefined : current;
  const stack = data?.nullableString('stack') ?? old?.stack ?? context.defaults.stack;
  if (stack !== context.defaults.stack) reader.fail(`Stack must be an existing stack; use "${context.defaults.stack}"`);
  const buildpacks = data?.strings('buildpacks') ?? old?.buildpacks ?? [];
  reader.errors.push(...buildpackProblems(context, buildpacks));
  const given = data?.body.credentials === undefined ? undefined : parseLogins(data.body.credentials);
  reader.errors.push(...(given?.problems ?? []).map((problem) => `Lifecycle data ${problem}`));
  return {
    lifecycle: { type, buildpacks, stack, ...hasLogins(given?.logins, old?.credentials) },
    ...(given === undefined ? {} : { logins: given.logins }),
  };
}

export function buildpackProblems(context: Context, buildpacks: string[]): string[] {
  const known = catalogue(context)
    .filter(({ enabled }) => enabled)
    .map(({ name }) => name);
  return buildpacks.flatMap((name) => {
    const other =
      builderOf(name) ??
      buildpackAddress(name) ??
      (known.includes(DOCKERFILE_BUILDPACK) ? dockerfileOf(name) : undefined);
    if (known.includes(name) || (other !== undefined && !('problem' in other))) return [];
    const shown = JSON.stringify(name.replace(/\/\/[^/]*@/, '//***@').slice(0, 80));
    if (other !== undefined) return [`Buildpack ${shown} cannot be used: ${other.problem}`];
    const there = known.join(', ') || 'none';
    return [`Buildpack ${shown} must be an existing admin buildpack or a valid git URI; there are: ${there}`];
  });
}

async function postApp(context: Context, request: ApiRequest): Promise<Reply> {
  const reader = new Reader(request.body).only(
    'name',
    'lifecycle',
    'environment_variables',
    'relationships',
    'metadata',
  );
  const name = reader.name('name', { required: true });
  const space = reader.relationship('space', { required: true });
  const asked = readLifecycle(context, reader);
  const environment = reader.object('environment_variables')?.body ?? {};
  reader.errors.push(...environmentProblems(environment));
  const metadata = reader.metadata();
  reader.done();
  const target = context.records.spaces.get(space ?? '');
  if (!target || !context.access.readsSpace(request.identity, target)) {
    throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
  }
  if (!context.access.writesSpace(request.identity, target)) throw notAuthorized();
  const app = await createApp(context, request.identity, {
    name: name ?? '',
    space: target,
    ...(asked ?? { lifecycle: { type: 'buildpack', buildpacks: [], stack: context.defaults.stack } }),
    environment: environment as Record<string, string | null>,
    userMetadata: mergeMetadata(undefined, metadata),
  });
  return created(presentApp(context.urls, app, target.metadata.name));
}

async function patchApp(context: Context, request: ApiRequest, app: Stored<App>): Promise<Stored<App>> {
  const reader = new Reader(request.body).only('name', 'lifecycle', 'metadata');
  const name = reader.name();
  const asked = readLifecycle(context, reader, app.spec.lifecycle);
  const metadata = reader.metadata();
  reader.done();
  const space = spaceGuid(context, app);
  const holder = appHolder({ guid: app.metadata.name, namespace: app.metadata.namespace ?? '' });
  const old = app.spec.displayName;
  const renamed = name !== undefined && !sameName(name, old);
  if (renamed && !(await context.reservations.take('appname', appNameKey(space, name), holder))) {
    throw appNameTaken(name);
  }
  if (asked?.logins) await putLogins(context, app, asked.logins);
  const changed = await context.records.apps.modify(app.metadata.name, (current) => ({
    ...current,
    metadata: { ...current.metadata, labels: { ...current.metadata.labels, ...nameLabel(name ?? old) } },
    spec: {
      ...current.spec,
      displayName: name ?? current.spec.displayName,
      lifecycle: asked?.lifecycle ?? current.spec.lifecycle,
      userMetadata: mergeMetadata(current.spec.userMetadata, metadata),
    },
  }));
  if (renamed) await context.reservations.release('appname', appNameKey(space, old), holder);
  await record(context, request.identity, changed, 'audit.app.update', { request: withoutLogins(request.body) });
  emit(context, changed, 'Updated', JSON.stringify(Object.keys(request.body)));
  return changed;
}
