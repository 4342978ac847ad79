import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { segmentOf } from '../../resources/segments.ts';
import { type Build, labels } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { keepGroup } from '../operations/environment.ts';
import { requireStack, warningHeaders } from '../operations/stack-state.ts';
import { buildState, packageState, presentBuild } from '../present/apps.ts';
import { presented } from '../presented.ts';
import { ownedBy } from '../records.ts';
import { whenSettled } from '../waiting.ts';
import { isObject, mergeMetadata, Reader } from '../validate.ts';
import { operateApp, readApp, readLifecycle } from './apps.ts';

export function buildEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (build: Stored<Build>) => presentBuild(urls, build);
  const bytes = presented(present);
  const list = (request: ApiRequest, items: Stored<Build>[]) =>
    listReply(context, request, {
      items,
      present: bytes,
      filters: {
        states: (item, values) => values.includes(buildState(item)),
        app_guids: (item, values) => values.includes(item.spec.app),
        package_guids: (item, values) => values.includes(item.spec.package),
      },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  return [
    {
      method: 'GET',
      path: '/v3/builds',
      auth: 'user',
      summary: 'List builds.',
      handle: (request) => list(request, access.visible(request.identity, records.builds.all())),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/builds',
      auth: 'user',
      summary: 'List the builds of an app.',
      handle: (request) => list(request, records.builds.ofApp(readApp(context, request).metadata.name)),
    },
    {
      method: 'POST',
      path: '/v3/builds',
      auth: 'user',
      summary: 'Build a droplet of a package.',
      handle: (request) => postBuild(context, request),
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/actions/clear_buildpack_cache',
      auth: 'user',
      summary: 'Forget what builds of an app left for the next one.',
      handle: (request) => {
        const { name } = operateApp(context, request).metadata;
        const work = () => context.staging.bits.forgetBuilds(name);
        return accepted(context, context.jobs.start('app.clear_buildpack_cache', work));
      },
    },
    {
      method: 'POST',
      path: '/v3/admin/actions/clear_buildpack_cache',
      auth: 'user',
      summary: 'Forget what builds of all apps left for the next ones, for administrators.',
      handle: (request) => {
        if (!request.identity.admin) throw notAuthorized();
        const work = async () => {
          for (const { metadata } of [...records.apps.all()]) await context.staging.bits.forgetBuilds(metadata.name);
        };
        return accepted(context, context.jobs.start('admin.clear_buildpack_cache', work));
      },
    },
    {
      method: 'GET',
      path: '/v3/builds/:guid',
      auth: 'user',
      summary: 'Get a build.',
      handle: async (request) => {
        const read = () => access.read(request.identity, records.builds, request.params.guid ?? '', 'Build');
        read();
        await whenSettled(request, records.builds.informer, () => {
          const build = records.builds.get(request.params.guid ?? '');
          return build === undefined || buildState(build) !== 'STAGING';
        });
        return ok(present(read()));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/builds/:guid',
      auth: 'user',
      summary: "Change a build's metadata, or cancel it with the state FAILED.",
      handle: async (request) => {
        const build = access.write(request.identity, records.builds, request.params.guid ?? '', 'Build');
        const reader = new Reader(request.body).only('metadata', 'state', 'error');
        const state = reader.string('state');
        if (state !== undefined && state !== 'FAILED')
          reader.fail("State can only be changed to 'FAILED', which cancels");
        const metadata = reader.metadata();
        reader.done();
        if (state === 'FAILED' && buildState(build) !== 'STAGING')
          throw unprocessable('Build is not staging any more.');
        const changed = await records.builds.modify(build.metadata.name, (current) => ({
          ...current,
          spec: {
            ...current.spec,
            userMetadata: mergeMetadata(current.spec.userMetadata, metadata),
            ...(state === 'FAILED' ? { cancelled: true } : {}),
          },
        }));
        return ok(present(changed));
      },
    },
  ];
}

async function postBuild(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access, defaults } = context;
  const reader = new Reader(request.body).only(
    'package',
    'lifecycle',
    'staging_memory_in_mb',
    'staging_disk_in_mb',
    'staging_log_rate_limit_bytes_per_second',
    'metadata',
  );
  const packageGuid = isObject(request.body.package) ? request.body.package.guid : undefined;
  if (typeof packageGuid !== 'string') reader.fail("Package guid can't be blank");
  const memoryMb = reader.megabytes('staging_memory_in_mb', { least: 64 });
  const diskMb = reader.megabytes('staging_disk_in_mb', { least: 64 });
  const metadata = reader.metadata();
  const item = records.packages.get(String(packageGuid));
  const space = item && records.spaceOf(item);
  const app = item && records.apps.get(item.spec.app);
  const asked = readLifecycle(context, reader, app?.spec.lifecycle);
  if (asked?.logins) reader.fail("Lifecycle data credentials are the app's: give them to it");
  reader.done();
  if (!item || !space || !app || !access.readsSpace(request.identity, space)) {
    throw unprocessable('Unable to use package. Ensure that the package exists and you have access to it.');
  }
  if (!access.operatesSpace(request.identity, space)) throw notAuthorized();
  if (packageState(item) !== 'READY') throw unprocessable('Package is not ready: upload its bits first.');
  const staging = records.builds
    .ofApp(app.metadata.name)
    .some((build) => buildState(build) === 'STAGING' && !build.spec.cancelled);
  if (staging) throw unprocessable('Only one build can be STAGING at a time per application.');
  const isNew = records.builds.ofApp(app.metadata.name).length === 0;
  const warning = requireStack(context, asked?.lifecycle ?? app.spec.lifecycle, isNew);
  const organization = records.organizations.get(space.spec.organization);
  const segment = segmentOf(space, organization, (name) => records.isolationSegments.get(name));
  const guid = randomUUID();
  await keepGroup(context, app, 'staging', guid);
  // Without a status it is STAGING (`buildState`): staging takes it up from here.
  const build = await records.builds.create({
    metadata: {
      name: guid,
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name, [labels.package]: item.metadata.name },
      ownerReferences: ownedBy(app),
    },
    spec: {
      app: app.metadata.name,
      package: item.metadata.name,
      lifecycle: asked?.lifecycle ?? app.spec.lifecycle,
      memoryMb: memoryMb ?? defaults.stagingMemoryMb,
      diskMb: diskMb ?? defaults.stagingDiskMb,
      timeoutSeconds: defaults.stagingTimeoutSeconds,
      createdBy: { guid: request.identity.userId, name: request.identity.userName },
      ...(segment === undefined ? {} : { segment }),
      userMetadata: mergeMetadata(undefined, metadata),
    },
  });
  context.logs.emit({
    sourceId: app.metadata.name,
    sourceType: 'API',
    message: `Creating build for app with guid ${app.metadata.name}`,
  });
  await context.audit.record({
    type: 'audit.app.build.create',
    actor: request.identity,
    target: { guid: app.metadata.name, type: 'app', name: app.spec.displayName },
    space,
    data: { build_guid: guid, package_guid: item.metadata.name },
  });
  return { ...created(presentBuild(context.urls, build)), headers: warningHeaders(warning) };
}
