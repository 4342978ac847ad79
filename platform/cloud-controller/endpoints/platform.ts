/** What the platform offers to everybody: stacks, buildpacks; and lists of what it does not have. */
import { nameGuid } from '#lib/name-guid.ts';
import { type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, notFound } from '../errors.ts';
import { emptyList, listReply, plainList } from '../listing.ts';
import { presentApp } from '../present/apps.ts';
import { link } from '../present/base.ts';
import { usageSummary } from '../present/usage.ts';

const EPOCH = '2026-01-01T00:00:00Z';

/** Lists that clients ask for, and that have no members here. */
const EMPTY = ['isolation_segments', 'service_brokers', 'service_offerings', 'service_plans', 'service_route_bindings'];

export function platformEndpoints(context: Context): Endpoint[] {
  const { urls, records, access } = context;
  const stack = (): Json => {
    const name = context.defaults.stack;
    const guid = nameGuid(`stack\n${name}`);
    return {
      guid,
      created_at: EPOCH,
      updated_at: EPOCH,
      name,
      description: 'Debian, made from its packages',
      build_rootfs_image: name,
      run_rootfs_image: name,
      default: true,
      metadata: { labels: {}, annotations: {} },
      links: { self: link(`${urls.api}/v3/stacks/${guid}`) },
    };
  };
  const buildpacks = (): Json[] =>
    context.staging.buildpacks().map((buildpack) => {
      const guid = nameGuid(`buildpack\n${buildpack.name}`);
      return {
        guid,
        created_at: EPOCH,
        updated_at: EPOCH,
        name: buildpack.name,
        stack: buildpack.stack,
        state: 'READY',
        position: buildpack.position,
        lifecycle: 'buildpack',
        filename: `${buildpack.name}-${buildpack.version}`,
        enabled: true,
        locked: true,
        version: buildpack.version,
        metadata: { labels: {}, annotations: {} },
        links: { self: link(`${urls.api}/v3/buildpacks/${guid}`) },
      };
    });
  return [
    {
      method: 'GET',
      path: '/v3/stacks',
      auth: 'user',
      summary: 'List stacks.',
      handle: (request) => plainList(context, request, [stack()]),
    },
    {
      method: 'GET',
      path: '/v3/stacks/:guid',
      auth: 'user',
      summary: 'Get a stack.',
      handle: (request) => {
        const found = stack();
        if (found.guid !== request.params.guid) throw notFound('Stack');
        return ok(found);
      },
    },
    {
      method: 'GET',
      path: '/v3/stacks/:guid/apps',
      auth: 'user',
      summary: 'List the apps on a stack.',
      handle: (request) => {
        const found = stack();
        if (found.guid !== request.params.guid) throw notFound('Stack');
        const apps = records.apps
          .all()
          .filter(({ spec }) => spec.lifecycle.type === 'buildpack' && spec.lifecycle.stack === found.name);
        return listReply(context, request, {
          items: access.visible(request.identity, apps),
          present: (app) => presentApp(urls, app, records.spaceOf(app)?.metadata.name ?? ''),
          filters: { names: (item, values) => values.includes(item.spec.displayName) },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/info/usage_summary',
      auth: 'user',
      summary: 'Get how much of everything is used, for administrators and global auditors.',
      handle: (request) => {
        if (request.identity.reads === 'own') throw notAuthorized();
        const domains = records.domains.all().filter(({ spec }) => spec.organization !== undefined);
        return ok({
          usage_summary: usageSummary(context, records.spaces.all(), domains.length),
          links: { self: link(`${urls.api}/v3/info/usage_summary`) },
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/buildpacks',
      auth: 'user',
      summary: 'List buildpacks in the order in which they are tried.',
      handle: (request) => plainList(context, request, buildpacks()),
    },
    {
      method: 'GET',
      path: '/v3/buildpacks/:guid',
      auth: 'user',
      summary: 'Get a buildpack.',
      handle: (request) => {
        const found = buildpacks().find((buildpack) => buildpack.guid === request.params.guid);
        if (!found) throw notFound('Buildpack');
        return ok(found);
      },
    },
    ...EMPTY.map(
      (name): Endpoint => ({
        method: 'GET',
        path: `/v3/${name}`,
        auth: 'user',
        summary: `List ${name.replaceAll('_', ' ')}.`,
        partial: 'there are none',
        handle: (request) => emptyList(context, request),
      }),
    ),
  ];
}
