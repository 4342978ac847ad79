/** What the platform offers to everybody: stacks, buildpacks, feature flags; and lists of what it does not have. */
import { createHash } from 'node:crypto';
import { type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { emptyList, plainList } from '../listing.ts';
import { link } from '../present/base.ts';

const EPOCH = '2026-01-01T00:00:00Z';

const FLAGS: Record<string, boolean> = {
  app_bits_upload: true,
  app_scaling: true,
  diego_docker: true,
  env_var_visibility: true,
  hide_marketplace_from_unauthenticated_users: true,
  private_domain_creation: true,
  resource_matching: true,
  route_creation: true,
  route_sharing: false,
  service_instance_creation: false,
  service_instance_sharing: false,
  set_roles_by_username: true,
  space_developer_env_var_visibility: true,
  space_scoped_private_broker_creation: false,
  task_creation: false,
  unset_roles_by_username: true,
  user_org_creation: false,
};

/** Lists that clients ask for, and that have no members here. */
const EMPTY = [
  'isolation_segments',
  'security_groups',
  'service_brokers',
  'service_credential_bindings',
  'service_instances',
  'service_offerings',
  'service_plans',
  'service_route_bindings',
  'sidecars',
  'tasks',
];

/** Of things that are known by name alone. */
function nameGuid(kind: string, name: string): string {
  const hex = createHash('sha256').update(`${kind}\n${name}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

export function platformEndpoints(context: Context): Endpoint[] {
  const { urls } = context;
  const stack = (): Json => {
    const name = context.defaults.stack;
    const guid = nameGuid('stack', name);
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
      const guid = nameGuid('buildpack', buildpack.name);
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
  const flag = (name: string): Json => ({
    name,
    enabled: FLAGS[name] ?? false,
    updated_at: null,
    custom_error_message: null,
    links: { self: link(`${urls.api}/v3/feature_flags/${name}`) },
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
    {
      method: 'GET',
      path: '/v3/feature_flags',
      auth: 'user',
      summary: 'List feature flags.',
      handle: (request) =>
        plainList(
          context,
          request,
          Object.keys(FLAGS).map((name) => flag(name)),
        ),
    },
    {
      method: 'GET',
      path: '/v3/feature_flags/:name',
      auth: 'user',
      summary: 'Get a feature flag.',
      handle: (request) => {
        const name = request.params.name ?? '';
        if (!Object.hasOwn(FLAGS, name)) throw notFound('Feature flag');
        return ok(flag(name));
      },
    },
    ...EMPTY.map(
      (name): Endpoint => ({
        method: 'GET',
        path: `/v3/${name}`,
        auth: 'user',
        summary: `List ${name.replaceAll('_', ' ')}: there are none.`,
        handle: (request) => emptyList(context, request),
      }),
    ),
  ];
}
