import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp as make } from './made-app.fixture.ts';

let cloud: TestCloud;
let organization: string;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  const spaces = await cloud.json('GET', '/v3/spaces?names=dev&include=organization');
  space = String((spaces.resources as Json[])[0]?.guid);
  organization = String(((spaces.included as Json).organizations as Json[])[0]?.guid);
});
after(() => cloud?.close());

const many = (...guids: string[]) => ({ data: guids.map((guid) => ({ guid })) });
const one = (guid: string) => ({ data: { guid } });

function refusal(answer: Answer): string {
  assert.equal(answer.status, 422, answer.text);
  return String((answer.body.errors as Json[])[0]?.detail);
}

const makeApp = async (name: string) => (await make(cloud, name, space)).app;

const scale = (app: string, body: Json) => cloud.call('POST', `/v3/apps/${app}/processes/web/actions/scale`, body);

test('the default quota limits nothing, can be changed and not deleted', async () => {
  const list = await cloud.json('GET', '/v3/organization_quotas');
  const [quota = {}] = list.resources as Json[];
  assert.equal(quota.name, 'default');
  assert.equal((quota.apps as Json).total_memory_in_mb, null);
  assert.deepEqual(quota.relationships, { organizations: many(organization) });
  const gone = await cloud.call('DELETE', `/v3/organization_quotas/${String(quota.guid)}`);
  assert.match(refusal(gone), /default quota cannot be deleted/);
});

test('an organization quota holds what is scaled, started and made', async () => {
  const quota = await cloud.json('POST', '/v3/organization_quotas', {
    name: 'small',
    apps: { total_memory_in_mb: 512, per_process_memory_in_mb: 256, total_instances: 3 },
    routes: { total_routes: 1 },
    domains: { total_domains: 0 },
    relationships: { organizations: many(organization) },
  });
  const twice = await cloud.call('POST', '/v3/organization_quotas', { name: 'small' });
  assert.equal(refusal(twice), "Organization Quota 'small' already exists.");
  const ports = await cloud.call('PATCH', `/v3/organization_quotas/${String(quota.guid)}`, {
    routes: { total_reserved_ports: 2 },
  });
  assert.equal(refusal(ports), 'Total reserved ports must be less than or equal to total routes, which are 1');
  const shown = await cloud.json('GET', `/v3/organizations/${organization}`);
  assert.deepEqual((shown.relationships as Json).quota, one(String(quota.guid)));

  const first = await makeApp('first');
  assert.match(refusal(await scale(first, { memory_in_mb: 257 })), /^memory instance_memory_limit_exceeded: .*"small"/);
  assert.equal((await scale(first, { instances: 9, memory_in_mb: 128 })).status, 202, 'what is stopped uses nothing');
  const refused = refusal(await cloud.call('POST', `/v3/apps/${first}/actions/start`));
  assert.equal(
    refused,
    'memory quota_exceeded: the quota "small" of organization "default" allows 512 MB of memory, and this would make it 1152.',
  );
  assert.equal((await cloud.json('GET', `/v3/apps/${first}`)).state, 'STOPPED');
  assert.equal((await scale(first, { instances: 2 })).status, 202);
  await cloud.json('POST', `/v3/apps/${first}/actions/start`);
  assert.match(refusal(await scale(first, { instances: 4 })), /^app_instance_limit app_instance_limit_exceeded/);

  const second = await makeApp('second');
  await scale(second, { memory_in_mb: 256 });
  await cloud.json('POST', `/v3/apps/${second}/actions/start`);
  assert.match(refusal(await scale(second, { instances: 2 })), /^memory quota_exceeded/);
  // Both fit the limit alone, and not together.
  await scale(second, { instances: 0 });
  const together = await Promise.all([scale(first, { instances: 3 }), scale(second, { instances: 1 })]);
  assert.deepEqual(together.map(({ status }) => status).sort(), [202, 422]);
  assert.equal((await scale(first, { instances: 1 })).status, 202, 'less is always allowed');
  await cloud.json('POST', `/v3/apps/${second}/actions/stop`);

  const domain = String(((await cloud.json('GET', '/v3/domains')).resources as Json[])[0]?.guid);
  const route = (host: string) =>
    cloud.call('POST', '/v3/routes', { host, relationships: { space: one(space), domain: one(domain) } });
  assert.equal((await route('one')).status, 201);
  assert.equal(refusal(await route('two')), "Routes quota exceeded for organization 'default'.");
  const owned = { name: 'own.example.com', relationships: { organization: one(organization) } };
  assert.match(refusal(await cloud.call('POST', '/v3/domains', owned)), /number of private domains exceeds the quota/);

  const usage = (await cloud.json('GET', `/v3/organizations/${organization}/usage_summary`)).usage_summary as Json;
  assert.deepEqual([usage.started_instances, usage.memory_in_mb, usage.routes], [1, 128, 1]);
  const used = await cloud.call('DELETE', `/v3/organization_quotas/${String(quota.guid)}`);
  assert.match(refusal(used), /applied to one or more organizations/);
  const lifted = await cloud.json('PATCH', `/v3/organization_quotas/${String(quota.guid)}`, {
    apps: { total_memory_in_mb: null, per_process_memory_in_mb: null, total_instances: null },
    routes: { total_routes: null },
  });
  assert.equal((lifted.apps as Json).total_memory_in_mb, null);
  assert.equal((await scale(first, { instances: 4 })).status, 202);
  await scale(first, { instances: 1 });
});

test('a manifest that asks for too much is refused in the words of the quota', async () => {
  const limited = await cloud.json('POST', '/v3/space_quotas', {
    name: 'tight',
    apps: { per_process_memory_in_mb: 64 },
    relationships: { organization: one(organization), spaces: many(space) },
  });
  const manifest = '---\napplications:\n- name: fat\n  memory: 65M\n  no-route: true\n';
  const applied = await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, manifest, {
    headers: { 'content-type': 'application/x-yaml' },
  });
  const job = await cloud.finished(applied);
  assert.equal(job.state, 'FAILED');
  assert.match(String((job.errors as Json[])[0]?.detail), /'fat'.*space_instance_memory_limit_exceeded.*"tight"/);
  const deleted = await cloud.call('DELETE', `/v3/space_quotas/${String(limited.guid)}`);
  assert.equal((await cloud.finished(deleted)).state, 'COMPLETE');
  assert.deepEqual(((await cloud.json('GET', `/v3/spaces/${space}`)).relationships as Json).quota, { data: null });
});

test('space quotas belong to their organization, its managers change them, others see theirs', async () => {
  const { client } = cloud.plane;
  const token = async (name: string, role: Json) => {
    const user = await putUser(client, { username: name, password: 'secret' });
    await cloud.json('POST', '/v3/roles', {
      type: 'organization_user',
      relationships: { user: one(user), organization: one(organization) },
    });
    await cloud.json('POST', '/v3/roles', {
      ...role,
      relationships: { user: one(user), ...(role.at as Json) },
      at: undefined,
    });
    return String((await cloud.login(name, 'secret')).body.access_token);
  };
  const manager = {
    token: await token('mia', { type: 'organization_manager', at: { organization: one(organization) } }),
  };
  const developer = { token: await token('dev', { type: 'space_developer', at: { space: one(space) } }) };
  const wanted = { name: 'mine', relationships: { organization: one(organization) } };
  assert.equal((await cloud.call('POST', '/v3/space_quotas', wanted, developer)).status, 403);
  const made = await cloud.call('POST', '/v3/space_quotas', wanted, manager);
  assert.equal(made.status, 201, made.text);
  const path = `/v3/space_quotas/${String(made.body.guid)}`;
  assert.equal((await cloud.call('GET', path, undefined, developer)).status, 404);
  const applied = await cloud.call('POST', `${path}/relationships/spaces`, many(space), manager);
  assert.deepEqual(applied.body.data, many(space).data);
  assert.equal((await cloud.call('GET', path, undefined, developer)).status, 200);
  assert.equal((await cloud.call('PATCH', path, { apps: { total_instances: 1 } }, developer)).status, 403);
  assert.equal((await cloud.call('PATCH', path, { apps: { total_instances: -1 } }, manager)).status, 422);
  assert.equal((await cloud.call('DELETE', `${path}/relationships/spaces/${space}`, undefined, manager)).status, 204);
  const other = await cloud.json('POST', '/v3/organizations', { name: 'other' });
  const stranger = await cloud.json('POST', '/v3/spaces', {
    name: 's',
    relationships: { organization: one(String(other.guid)) },
  });
  const foreign = await cloud.call('POST', `${path}/relationships/spaces`, many(String(stranger.guid)), manager);
  assert.match(refusal(foreign), /do not exist, or you do not have access/);
});

test('a private domain is shared with another organization, and used there until it is not', async () => {
  const other = String((await cloud.json('POST', '/v3/organizations', { name: 'guests' })).guid);
  const place = await cloud.json('POST', '/v3/spaces', { name: 's', relationships: { organization: one(other) } });
  const lifted = { domains: { total_domains: null } };
  const quotas = (await cloud.json('GET', '/v3/organization_quotas?names=small')).resources as Json[];
  await cloud.json('PATCH', `/v3/organization_quotas/${String(quotas[0]?.guid)}`, lifted);
  const made = await cloud.json('POST', '/v3/domains', {
    name: 'lent.example.com',
    relationships: { organization: one(organization) },
  });
  const domain = String(made.guid);
  const route = () =>
    cloud.call('POST', '/v3/routes', {
      host: 'a',
      relationships: { space: one(String(place.guid)), domain: one(domain) },
    });
  assert.equal((await route()).status, 422);
  const path = `/v3/domains/${domain}/relationships/shared_organizations`;
  assert.deepEqual((await cloud.call('POST', path, many(other))).body, many(other));
  const routed = await route();
  assert.equal(routed.status, 201, routed.text);
  assert.match(refusal(await cloud.call('DELETE', `${path}/${other}`)), /Delete the routes before unsharing/);
  await cloud.finished(await cloud.call('DELETE', `/v3/routes/${String(routed.body.guid)}`));
  assert.equal((await cloud.call('DELETE', `${path}/${other}`)).status, 204);
  assert.equal((await route()).status, 422);
});
