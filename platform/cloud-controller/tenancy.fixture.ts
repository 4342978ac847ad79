/** An organization with one of everything, who is who in it, and what each endpoint is asked in the test of tenancy. */
import type { Json } from './api.ts';
import { catalogOf, TestBroker } from '../services/broker.fixture.ts';
import { putUser } from '../uaa/users.ts';
import type { TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';
import { ROUTER_GROUP } from './operations/tcp-routes.ts';

const ORGANIZATION_ROLES = [
  'organization_user',
  'organization_auditor',
  'organization_billing_manager',
  'organization_manager',
] as const;
const SPACE_ROLES = ['space_auditor', 'space_supporter', 'space_developer', 'space_manager'] as const;
export const MEMBERS = [...ORGANIZATION_ROLES, ...SPACE_ROLES];

/** Guids by the segment of the path that comes before them. */
export interface World {
  guids: Record<string, string>;
  /** In the name of everything that was named here. */
  mark: string;
  domainName: string;
  broker: TestBroker;
}

const one = (guid: string | undefined) => ({ data: { guid } });

function brokerFacts({ url, username, password }: TestBroker): Json {
  return { url, authentication: { type: 'basic', credentials: { username, password } } };
}

export class Tenancy {
  readonly #cloud: TestCloud;
  readonly #users = new Map<string, string>();
  #count = 0;
  /** Of services of the worlds; to be opened by who makes worlds. */
  readonly broker = new TestBroker();

  constructor(cloud: TestCloud) {
    this.#cloud = cloud;
  }

  /** Makes the user where there is none. */
  async token(name: string, groups: string[] = []): Promise<string> {
    if (!this.#users.has(name)) {
      this.#users.set(name, await putUser(this.#cloud.plane.client, { username: name, password: 'secret', groups }));
    }
    return String((await this.#cloud.login(name, 'secret')).body.access_token);
  }

  /** One of everything, and a user for each role, who is named as it is. */
  async world(): Promise<World> {
    const mark = `marked-${++this.#count}`;
    const make = async (path: string, body: Json) => String((await this.#cloud.json('POST', path, body)).guid);
    const organization = await make('/v3/organizations', { name: `org-${mark}` });
    const space = await make('/v3/spaces', {
      name: `space-${mark}`,
      relationships: { organization: one(organization) },
    });
    const { app, build } = await makeApp(this.#cloud, `app-${mark}`, space);
    await this.#cloud.json('PATCH', `/v3/apps/${app}/environment_variables`, { var: { MARK: mark } });
    await this.#cloud.json('POST', `/v3/apps/${app}/actions/start`);
    const named = async (path: string) =>
      String((((await this.#cloud.json('GET', path)).resources as Json[])[0] ?? {}).guid);
    const domainName = `${mark}.example.com`;
    const domain = await make('/v3/domains', { name: domainName, relationships: { organization: one(organization) } });
    const route = await make('/v3/routes', {
      host: mark,
      relationships: { space: one(space), domain: one(domain) },
    });
    const mapped = await this.#cloud.json('POST', `/v3/routes/${route}/destinations`, {
      destinations: [{ app: { guid: app } }],
    });
    const droplet = String((((await this.#cloud.json('GET', `/v3/builds/${build}`)).droplet as Json) ?? {}).guid);
    const quota = await make('/v3/organization_quotas', {
      name: `quota-${mark}`,
      relationships: { organizations: { data: [{ guid: organization }] } },
    });
    const guids: Record<string, string> = {
      organizations: organization,
      spaces: space,
      apps: app,
      processes: app,
      builds: build,
      droplets: droplet,
      domains: domain,
      routes: route,
      destinations: String(((mapped.destinations as Json[])[0] ?? {}).guid),
      organization_quotas: quota,
      space_quotas: await make('/v3/space_quotas', {
        name: `tight-${mark}`,
        relationships: { organization: one(organization), spaces: { data: [{ guid: space }] } },
      }),
      packages: await named(`/v3/apps/${app}/packages`),
      revisions: await named(`/v3/apps/${app}/revisions`),
      sidecars: await make(`/v3/apps/${app}/sidecars`, {
        name: `sidecar-${mark}`,
        command: 'x',
        process_types: ['worker'],
      }),
      tasks: await make(`/v3/apps/${app}/tasks`, { command: 'x', name: `task-${mark}` }),
      deployments: await make('/v3/deployments', { droplet: { guid: droplet }, relationships: { app: one(app) } }),
      audit_events: await named(`/v3/audit_events?target_guids=${app}`),
      stacks: await named('/v3/stacks'),
      buildpacks: await make('/v3/buildpacks', { name: fresh('buildpack'), position: 1000 }),
      jobs: 'none',
      shared_spaces: 'nobody',
    };
    guids['isolation_segments'] = await make('/v3/isolation_segments', { name: `segment-${mark}` });
    await this.#cloud.json(
      'POST',
      `/v3/isolation_segments/${guids['isolation_segments']}/relationships/organizations`,
      {
        data: [{ guid: organization }],
      },
    );
    guids['security_groups'] = await make('/v3/security_groups', {
      name: `group-${mark}`,
      relationships: { running_spaces: { data: [{ guid: space }] }, staging_spaces: { data: [{ guid: space }] } },
    });
    for (const way of ['running_spaces', 'staging_spaces']) guids[way] = space;
    Object.assign(guids, await this.#broker(mark, space));
    guids['service_instances'] = await make('/v3/service_instances', {
      type: 'user-provided',
      name: `service-${mark}`,
      credentials: { secret: mark },
      route_service_url: `https://${mark}.example.org`,
      relationships: { space: one(space) },
    });
    guids['service_credential_bindings'] = await make('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: one(app), service_instance: one(guids['service_instances']) },
    });
    guids['service_route_bindings'] = await make('/v3/service_route_bindings', {
      relationships: { route: one(route), service_instance: one(guids['service_instances']) },
    });
    const newest = async (kind: string) =>
      ((await this.#cloud.json('GET', `/v3/${kind}?order_by=-created_at&per_page=1`)).resources as Json[])[0];
    const usage = async (kind: string) => String((await this.#cloud.until(kind, () => newest(kind))).guid);
    for (const kind of ['app_usage_events', 'service_usage_events']) guids[kind] = await usage(kind);
    await this.#members(guids);
    await this.settled({ guids, mark, domainName, broker: this.broker });
    return { guids, mark, domainName, broker: this.broker };
  }

  /** A broker of the space, with what is in its catalog. */
  async #broker(mark: string, space: string): Promise<Record<string, string>> {
    this.broker.catalog = catalogOf();
    await this.#cloud.json('PATCH', '/v3/feature_flags/space_scoped_private_broker_creation', { enabled: true });
    const body = { name: `broker-${mark}`, ...brokerFacts(this.broker), relationships: { space: one(space) } };
    const job = await this.#cloud.finished(await this.#cloud.call('POST', '/v3/service_brokers', body));
    if (job.state !== 'COMPLETE') throw new Error(JSON.stringify(job));
    const first = async (path: string) =>
      String((((await this.#cloud.json('GET', path)).resources as Json[])[0] ?? {}).guid);
    const broker = await first(`/v3/service_brokers?space_guids=${space}`);
    return {
      service_brokers: broker,
      service_offerings: await first(`/v3/service_offerings?service_broker_guids=${broker}`),
      service_plans: await first(`/v3/service_plans?service_broker_guids=${broker}`),
    };
  }

  /** Resolves when nothing of it is under way, so that what it answers is the same each time. */
  async settled({ guids }: World): Promise<void> {
    await this.#cloud.until('the world to rest', async () => {
      const [builds, deployments, processes] = await Promise.all([
        this.#cloud.json('GET', `/v3/builds?app_guids=${guids['apps']}&states=STAGING`),
        this.#cloud.json('GET', `/v3/deployments?app_guids=${guids['apps']}&status_values=ACTIVE`),
        this.#cloud.json('GET', `/v3/processes/${guids['processes']}/stats`),
      ]);
      const none = (list: Json) => (list.resources as Json[]).length === 0;
      return none(builds) && none(deployments) && (processes.resources as Json[])[0]?.state === 'RUNNING';
    });
  }

  async #members(guids: Record<string, string>): Promise<void> {
    const grant = (type: string, name: string, place: Json) =>
      this.#cloud.json('POST', '/v3/roles', {
        type,
        relationships: { user: one(this.#users.get(name)), ...place },
      });
    for (const name of MEMBERS) await this.token(name);
    for (const name of MEMBERS) {
      const role = await grant('organization_user', name, { organization: one(guids['organizations']) });
      if (name === 'organization_user') guids['roles'] = String(role.guid);
    }
    for (const type of ORGANIZATION_ROLES.slice(1))
      await grant(type, type, { organization: one(guids['organizations']) });
    for (const type of SPACE_ROLES) await grant(type, type, { space: one(guids['spaces']) });
    guids['users'] = this.#users.get('organization_user') ?? '';
  }
}

let count = 0;
const fresh = (what: string) => `${what}-${++count}`;
const metadata = () => ({ metadata: { labels: { seen: 'yes' } } });
const connections = ({ guids }: World) => ({
  policies: [
    {
      source: { id: guids['apps'] },
      destination: { id: guids['apps'], protocol: 'tcp', ports: { start: 8080, end: 8080 } },
    },
  ],
});
const manifest = (name: string) => `---\napplications:\n- name: ${name}\n  no-route: true\n`;

/** What is sent: right in form, about the world's own things. Text is YAML. */
export const BODIES: Record<string, (world: World) => unknown> = {
  'POST /v3/organizations': () => ({ name: fresh('org') }),
  'PATCH /v3/organizations/:guid': metadata,
  'POST /v3/spaces': ({ guids }) => ({
    name: fresh('space'),
    relationships: { organization: one(guids['organizations']) },
  }),
  'PATCH /v3/spaces/:guid': metadata,
  'POST /v3/organization_quotas': () => ({ name: fresh('quota') }),
  'PATCH /v3/organization_quotas/:guid': () => ({ routes: { total_routes: null } }),
  'POST /v3/organization_quotas/:guid/relationships/organizations': ({ guids }) => ({
    data: [{ guid: guids['organizations'] }],
  }),
  'POST /v3/space_quotas': ({ guids }) => ({
    name: fresh('quota'),
    relationships: { organization: one(guids['organizations']) },
  }),
  'PATCH /v3/space_quotas/:guid': () => ({ routes: { total_routes: null } }),
  'POST /v3/space_quotas/:guid/relationships/spaces': ({ guids }) => ({ data: [{ guid: guids['spaces'] }] }),
  'POST /v3/domains': ({ guids }) => ({
    name: `${fresh('d')}.example.org`,
    relationships: { organization: one(guids['organizations']) },
  }),
  'POST /v3/isolation_segments': () => ({ name: fresh('segment') }),
  'PATCH /v3/isolation_segments/:guid': metadata,
  'POST /v3/isolation_segments/:guid/relationships/organizations': ({ guids }) => ({
    data: [{ guid: guids['organizations'] }],
  }),
  'PATCH /v3/organizations/:guid/relationships/default_isolation_segment': ({ guids }) => ({
    data: { guid: guids['isolation_segments'] },
  }),
  'PATCH /v3/spaces/:guid/relationships/isolation_segment': ({ guids }) => ({
    data: { guid: guids['isolation_segments'] },
  }),
  'PATCH /v3/domains/:guid': metadata,
  'PUT /v3/domains/:guid/certificate': () => ({ certificate: 'none', private_key: 'none' }),
  'POST /v3/domains/:guid/relationships/shared_organizations': ({ guids }) => ({
    data: [{ guid: guids['organizations'] }],
  }),
  'PATCH /v3/spaces/:guid/features/:name': () => ({ enabled: false }),
  'PATCH /v3/users/:guid': metadata,
  'POST /v3/apps': ({ guids }) => ({ name: fresh('app'), relationships: { space: one(guids['spaces']) } }),
  'PATCH /v3/apps/:guid': metadata,
  'POST /v3/apps/:guid/actions/start': () => undefined,
  'POST /v3/apps/:guid/actions/stop': () => undefined,
  'POST /v3/apps/:guid/actions/restart': () => undefined,
  'POST /v3/apps/:guid/actions/rebase': () => undefined,
  'POST /v3/apps/:guid/actions/clear_buildpack_cache': () => undefined,
  'POST /v3/admin/actions/clear_buildpack_cache': () => undefined,
  'POST /v3/stacks/:guid/actions/update': () => undefined,
  'PATCH /v3/apps/:guid/relationships/current_droplet': ({ guids }) => one(guids['droplets']),
  'PATCH /v3/apps/:guid/environment_variables': () => ({ var: { SEEN: 'yes' } }),
  'PATCH /v3/apps/:guid/features/:name': () => ({ enabled: false }),
  'PATCH /v3/environment_variable_groups/:name': () => ({ var: { SEEN: 'yes' } }),
  'POST /v3/packages': ({ guids }) => ({ type: 'bits', relationships: { app: one(guids['apps']) } }),
  'PATCH /v3/packages/:guid': metadata,
  'POST /v3/packages/:guid/upload': () => {
    const form = new FormData();
    form.set('bits', new Blob(['zip bytes']), 'package.zip');
    return form;
  },
  'POST /v3/resource_matches': () => ({
    resources: [{ checksum: { value: 'a'.repeat(40) }, size_in_bytes: 3, path: 'a', mode: '644' }],
  }),
  'POST /v3/builds': ({ guids }) => ({ package: { guid: guids['packages'] } }),
  'PATCH /v3/builds/:guid': metadata,
  'POST /v3/droplets': ({ guids }) => ({ relationships: { app: one(guids['apps']) } }),
  'POST /v3/droplets/:guid/upload': () => {
    const form = new FormData();
    form.set('bits', new Blob(['an archive']), 'droplet.tgz');
    return form;
  },
  'PATCH /v3/droplets/:guid': metadata,
  'PATCH /v3/processes/:guid': metadata,
  'PATCH /v3/apps/:guid/processes/:type': metadata,
  'POST /v3/processes/:guid/actions/scale': () => ({ instances: 1 }),
  'POST /v3/apps/:guid/processes/:type/actions/scale': () => ({ instances: 1 }),
  'POST /v3/security_groups': () => ({ name: fresh('group') }),
  'PATCH /v3/security_groups/:guid': () => ({ rules: [] }),
  'POST /v3/security_groups/:guid/relationships/running_spaces': ({ guids }) => ({ data: [{ guid: guids['spaces'] }] }),
  'POST /v3/security_groups/:guid/relationships/staging_spaces': ({ guids }) => ({ data: [{ guid: guids['spaces'] }] }),
  'POST /networking/v1/external/policies': connections,
  'POST /networking/v1/external/policies/delete': connections,
  'POST /v3/apps/:guid/sidecars': () => ({ name: fresh('sidecar'), command: 'x', process_types: ['worker'] }),
  'PATCH /v3/sidecars/:guid': () => ({ command: 'y' }),
  'POST /v3/routes': ({ guids }) => ({
    host: fresh('host'),
    relationships: { space: one(guids['spaces']), domain: one(guids['domains']) },
  }),
  'PATCH /v3/routes/:guid': metadata,
  'POST /v3/routes/:guid/destinations': ({ guids }) => ({ destinations: [{ app: { guid: guids['apps'] } }] }),
  'PATCH /v3/routes/:guid/destinations': ({ guids }) => ({ destinations: [{ app: { guid: guids['apps'] } }] }),
  'PATCH /v3/routes/:guid/destinations/:destination': () => ({ protocol: 'http1' }),
  'POST /v3/routes/:guid/relationships/shared_spaces': ({ guids }) => ({ data: [{ guid: guids['spaces'] }] }),
  'PATCH /v3/routes/:guid/relationships/space': ({ guids }) => one(guids['spaces']),
  'POST /v3/deployments': ({ guids }) => ({
    droplet: { guid: guids['droplets'] },
    relationships: { app: one(guids['apps']) },
  }),
  'PATCH /v3/deployments/:guid': metadata,
  'POST /v3/deployments/:guid/actions/cancel': () => undefined,
  'POST /v3/deployments/:guid/actions/continue': () => undefined,
  'PATCH /v3/revisions/:guid': metadata,
  'POST /v3/apps/:guid/tasks': () => ({ command: 'x' }),
  'PATCH /v3/tasks/:guid': metadata,
  'POST /v3/tasks/:guid/actions/cancel': () => undefined,
  'PUT /v3/tasks/:guid/cancel': () => undefined,
  'POST /v3/spaces/:guid/actions/apply_manifest': () => manifest(fresh('app')),
  'POST /v3/spaces/:guid/manifest_diff': () => manifest(fresh('app')),
  'POST /v3/apps/:guid/actions/apply_manifest': ({ mark }) => manifest(`app-${mark}`),
  'POST /v3/service_brokers': ({ guids, broker }) => ({
    name: fresh('broker'),
    ...brokerFacts(broker),
    relationships: { space: one(guids['spaces']) },
  }),
  'PATCH /v3/service_brokers/:guid': metadata,
  'PATCH /v3/service_offerings/:guid': metadata,
  'PATCH /v3/service_plans/:guid': metadata,
  'POST /v3/service_plans/:guid/visibility': () => ({ type: 'public' }),
  'PATCH /v3/service_plans/:guid/visibility': () => ({ type: 'public' }),
  'POST /v3/service_instances': ({ guids }) => ({
    type: 'user-provided',
    name: fresh('service'),
    relationships: { space: one(guids['spaces']) },
  }),
  'PATCH /v3/service_instances/:guid': metadata,
  'POST /v3/service_instances/:guid/relationships/shared_spaces': ({ guids }) => ({
    data: [{ guid: guids['spaces'] }],
  }),
  'POST /v3/service_route_bindings': ({ guids }) => ({
    relationships: { route: one(guids['routes']), service_instance: one(guids['service_instances']) },
  }),
  'PATCH /v3/service_route_bindings/:guid': metadata,
  'POST /v3/service_credential_bindings': ({ guids }) => ({
    type: 'app',
    relationships: { app: one(guids['apps']), service_instance: one(guids['service_instances']) },
  }),
  'PATCH /v3/service_credential_bindings/:guid': metadata,
  'POST /v3/users': ({ guids }) => ({ guid: guids['users'] }),
  'POST /v3/roles': ({ guids }) => ({
    type: 'organization_user',
    relationships: { user: one(guids['users']), organization: one(guids['organizations']) },
  }),
  'POST /v3/app_usage_events/actions/destructively_purge_all_and_reseed': () => undefined,
  'POST /v3/service_usage_events/actions/destructively_purge_all_and_reseed': () => undefined,
  'PATCH /v3/stacks/:guid': metadata,
  'POST /v3/buildpacks': () => ({ name: fresh('buildpack'), position: 1000 }),
  'PATCH /v3/buildpacks/:guid': metadata,
  'POST /v3/buildpacks/:guid/upload': () => {
    const form = new FormData();
    form.set('bits', new Blob(['zip bytes']), 'buildpack.zip');
    return form;
  },
  'PATCH /v3/feature_flags/:name': () => ({ enabled: false }),
};

/** What `:name`, `:type` and the like stand for. */
const PARAMETERS: Record<string, string> = { type: 'web', index: '0', organization: 'nobody' };
const NAMES: Record<string, string> = {
  features: 'ssh',
  environment_variable_groups: 'running',
  feature_flags: 'service_instance_sharing',
};

/** The same in every world. */
const EVERYWHERE: Record<string, string> = { router_groups: ROUTER_GROUP };

/** Throws where the world has nothing for a parameter. */
export function filled(path: string, world: World): string {
  const segments = path.split('/');
  return segments
    .map((segment, index) => {
      if (!segment.startsWith(':')) return segment;
      const before = segments[index - 1] ?? '';
      const name = segment.slice(1);
      const value = name === 'name' ? NAMES[before] : (PARAMETERS[name] ?? world.guids[before] ?? EVERYWHERE[before]);
      if (value === undefined) throw new Error(`nothing stands for ${segment} in ${path}`);
      return value;
    })
    .join('/');
}
