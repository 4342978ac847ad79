/** What is done leaves an audit event of Cloud Foundry's type: about the right thing, by the right person, where it is looked for. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let organization: string;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  organization = await make('/v3/organizations', { name: 'audited' });
  space = await make('/v3/spaces', { name: 'here', relationships: { organization: one(organization) } });
});
after(() => cloud?.close());

const one = (guid: string) => ({ data: { guid } });
const labels = { metadata: { labels: { a: 'b' } } };
const make = async (path: string, body: Json) => String((await cloud.json('POST', path, body)).guid);

interface Event {
  type: string;
  actor: { name: string };
  target: { guid: string; type: string };
  data: Json;
}

async function events(target: string): Promise<Event[]> {
  const { resources } = await cloud.json('GET', `/v3/audit_events?target_guids=${target}&per_page=500`);
  return resources as Event[];
}

/** Fails with what there is instead. */
async function told(target: string, kind: string, ...types: string[]): Promise<void> {
  const all = await events(target);
  for (const type of types) {
    const event = all.find((candidate) => candidate.type === type);
    assert.ok(event, `${type} is not in ${all.map((candidate) => candidate.type).join(', ')}`);
    assert.deepEqual([event.actor.name, event.target.type], ['admin', kind], type);
  }
}

test('organizations, spaces and their quotas', async () => {
  await cloud.json('PATCH', `/v3/organizations/${organization}`, labels);
  await cloud.json('PATCH', `/v3/spaces/${space}`, labels);
  await told(organization, 'organization', 'audit.organization.create', 'audit.organization.update');
  await told(space, 'space', 'audit.space.create', 'audit.space.update');
  const wide = await make('/v3/organization_quotas', { name: 'wide' });
  await cloud.json('PATCH', `/v3/organization_quotas/${wide}`, { name: 'wider' });
  const path = `/v3/organization_quotas/${wide}/relationships/organizations`;
  const goes = await make('/v3/organizations', { name: 'goes' });
  await cloud.json('POST', path, { data: [{ guid: goes }] });
  await cloud.finished(await cloud.call('DELETE', `/v3/organizations/${goes}`));
  await told(goes, 'organization', 'audit.organization.delete-request');
  await cloud.finished(await cloud.call('DELETE', `/v3/organization_quotas/${wide}`));
  const ofQuota = (kind: string, ...what: string[]) => what.map((verb) => `audit.${kind}.${verb}`);
  await told(wide, 'organization_quota', ...ofQuota('organization_quota', 'create', 'update', 'apply', 'delete'));
  const tight = await make('/v3/space_quotas', { name: 'tight', relationships: { organization: one(organization) } });
  await cloud.json('PATCH', `/v3/space_quotas/${tight}`, { name: 'tighter' });
  await cloud.json('POST', `/v3/space_quotas/${tight}/relationships/spaces`, { data: [{ guid: space }] });
  assert.equal((await cloud.call('DELETE', `/v3/space_quotas/${tight}/relationships/spaces/${space}`)).status, 204);
  await cloud.finished(await cloud.call('DELETE', `/v3/space_quotas/${tight}`));
  await told(tight, 'space_quota', ...ofQuota('space_quota', 'create', 'update', 'apply', 'remove', 'delete'));
});

test('roles, about the user who has them; routes, stacks and buildpacks', async () => {
  const user = await putUser(cloud.plane.client, { username: 'ann', password: 'secret' });
  const grant = (type: string, place: Json) =>
    make('/v3/roles', { type, relationships: { user: one(user), ...place } });
  await grant('organization_user', { organization: one(organization) });
  const role = await grant('space_developer', { space: one(space) });
  await cloud.finished(await cloud.call('DELETE', `/v3/roles/${role}`));
  const types = ['organization_user_add', 'space_developer_add', 'space_developer_remove'];
  await told(user, 'user', ...types.map((type) => `audit.user.${type}`));
  const [domain] = (await cloud.json('GET', '/v3/domains')).resources as Json[];
  const relationships = { space: one(space), domain: one(String(domain?.guid)) };
  const route = await make('/v3/routes', { host: 'audited', relationships });
  await cloud.json('PATCH', `/v3/routes/${route}`, labels);
  await cloud.finished(await cloud.call('DELETE', `/v3/routes/${route}`));
  await told(route, 'route', 'audit.route.create', 'audit.route.update', 'audit.route.delete-request');
  for (const kind of ['stack', 'buildpack']) {
    const [first] = (await cloud.json('GET', `/v3/${kind}s`)).resources as Json[];
    const guid = String(first?.guid);
    await cloud.json('PATCH', `/v3/${kind}s/${guid}`, labels);
    await told(guid, kind, `audit.${kind}.update`);
  }
});

test('apps: what is built, started, read and stopped', async () => {
  const { app, build } = await makeApp(cloud, 'watched', space);
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  await cloud.json('GET', `/v3/apps/${app}/env`);
  await cloud.json('GET', `/v3/apps/${app}/environment_variables`);
  const [revision] = (await cloud.json('GET', `/v3/apps/${app}/revisions`)).resources as Json[];
  await cloud.json('GET', `/v3/revisions/${String(revision?.guid)}/environment_variables`);
  await cloud.until('an instance', async () => {
    const { status } = await cloud.call('DELETE', `/v3/apps/${app}/processes/web/instances/0`);
    return status === 204;
  });
  const types = [
    'environment.show',
    'environment_variables.show',
    'revision.create',
    'revision.environment_variables.show',
    'process.terminate_instance',
    'start',
  ];
  await told(app, 'app', ...types.map((type) => `audit.app.${type}`));
  const staged = await cloud.until('the build is told of', async () =>
    (await events(app)).find(({ type }) => type === 'audit.app.build.staged'),
  );
  assert.equal(staged.data.build_guid, build);
  cloud.staging.outcome = () => ({ error: { code: 'NoAppDetectedError', message: 'nothing fits' } });
  const [item] = (await cloud.json('GET', `/v3/apps/${app}/packages`)).resources as Json[];
  await cloud.json('POST', '/v3/builds', { package: { guid: item?.guid } });
  const failed = await cloud.until('the failure is told of', async () =>
    (await events(app)).find(({ type }) => type === 'audit.app.build.failed'),
  );
  assert.equal(failed.data.error_id, 'NoAppDetectedError');
  await cloud.restart();
  const ends = (await events(app)).filter(({ type }) => /build\.(staged|failed)$/.test(type));
  assert.equal(ends.length, 2, 'nothing is told twice');
});
