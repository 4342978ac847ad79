import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods, secrets } from '../resources/kubernetes.ts';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let space: string;
let developer: { token: string };

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  const organization = String(((await cloud.json('GET', '/v3/organizations')).resources as Json[])[0]?.guid);
  const user = one(await putUser(cloud.plane.client, { username: 'dev', password: 'secret' }));
  const role = (type: string, place: Json) =>
    cloud.json('POST', '/v3/roles', { type, relationships: { user, ...place } });
  await role('organization_user', { organization: one(organization) });
  await role('space_developer', { space: one(space) });
  developer = { token: String((await cloud.login('dev', 'secret')).body.access_token) };
});
after(() => cloud?.close());

const one = (guid: string) => ({ data: { guid } });
const firstError = (body: Json): Json => (body.errors as Json[])[0] ?? {};

test('feature flags: an administrator turns them, others are held to them', async () => {
  const app = await cloud.json('POST', '/v3/apps', { name: 'flagged', relationships: { space: one(space) } });
  const scale = (options?: { token: string }) =>
    cloud.call('POST', `/v3/apps/${String(app.guid)}/processes/web/actions/scale`, { instances: 2 }, options);
  assert.equal((await scale(developer)).status, 202);
  const path = '/v3/feature_flags/app_scaling';
  assert.equal((await cloud.call('PATCH', path, { enabled: false }, developer)).status, 403);
  const off = await cloud.json('PATCH', path, { enabled: false, custom_error_message: 'ask Jo' });
  assert.deepEqual([off.enabled, off.custom_error_message], [false, 'ask Jo']);
  assert.ok(off.updated_at);
  const refused = await scale(developer);
  assert.equal(refused.status, 403);
  assert.deepEqual(firstError(refused.body), {
    code: 330002,
    title: 'CF-FeatureDisabled',
    detail: 'Feature Disabled: ask Jo',
  });
  assert.equal((await scale()).status, 202, 'administrators are not');
  await cloud.json('PATCH', path, { enabled: true });
  assert.equal((await scale(developer)).status, 202);
  const list = (await cloud.json('GET', '/v3/feature_flags')).resources as Json[];
  assert.equal(list.find((flag) => flag.name === 'app_scaling')?.custom_error_message, 'ask Jo');
});

test('feature flags: users make organizations where they may', async () => {
  const make = () => cloud.call('POST', '/v3/organizations', { name: 'own' }, developer);
  assert.equal((await make()).status, 403);
  await cloud.json('PATCH', '/v3/feature_flags/user_org_creation', { enabled: true });
  const made = await make();
  assert.equal(made.status, 201);
  assert.equal(
    (await cloud.call('GET', `/v3/organizations/${String(made.body.guid)}`, undefined, developer)).status,
    200,
  );
  assert.equal((await cloud.call('GET', '/v3/feature_flags/nonsense')).status, 404);
});

test('environment variable groups: apps have the running group from their next start on, builds the staging group', async () => {
  const group = '/v3/environment_variable_groups';
  assert.equal((await cloud.call('GET', `${group}/running`, undefined, developer)).status, 403);
  const bad = await cloud.call('PATCH', `${group}/running`, { var: { VCAP_X: 'no' } });
  assert.match(String(firstError(bad.body).detail), /cannot start with VCAP_/);
  const set = await cloud.json('PATCH', `${group}/running`, { var: { PROXY: 'one', GONE: 'x' } });
  assert.deepEqual(set.var, { PROXY: 'one', GONE: 'x' });
  await cloud.json('PATCH', `${group}/running`, { var: { GONE: null } });
  await cloud.json('PATCH', `${group}/staging`, { var: { MIRROR: 'two' } });

  const { app, build } = await makeApp(cloud, 'env', space);
  const namespace = String(cloud.api.context.records.spaces.get(space)?.spec.namespace);
  const values = async (name: string) => {
    const secret = await cloud.plane.client.get(secrets, name, namespace);
    return Object.fromEntries(Object.entries(secret.data ?? {}).map(([key, value]) => [key, atob(value)]));
  };
  assert.deepEqual(await values(`env-staging-${build}`), { MIRROR: 'two' });
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  const pod = await cloud.until('its pod', async () => {
    const { items } = await cloud.plane.client.list(pods, { namespace });
    return items.find((one: Stored<Pod>) => one.metadata.labels?.['platform.sampan.dev/app'] === app);
  });
  const sources = (pod.spec?.containers[0]?.envFrom ?? []).map(({ secretRef }) => String(secretRef?.name));
  assert.equal(sources.length, 2);
  assert.deepEqual(await values(sources[0] ?? ''), { PROXY: 'one' });

  await cloud.json('PATCH', `${group}/running`, { var: { PROXY: 'three' } });
  assert.deepEqual(await values(sources[0] ?? ''), { PROXY: 'one' }, 'what runs keeps what it has');
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  assert.deepEqual(await values(sources[0] ?? ''), { PROXY: 'three' });
  const revisions = await cloud.json('GET', `/v3/apps/${app}/revisions`);
  assert.equal((revisions.resources as Json[]).length, 1, 'a group is no part of a revision');
  const shown = await cloud.json('GET', `/v3/apps/${app}/env`);
  assert.deepEqual([shown.running_env_json, shown.staging_env_json], [{ PROXY: 'three' }, { MIRROR: 'two' }]);
});

test('a suspended organization is seen by its members and changed by administrators alone', async () => {
  const [organization] = (await cloud.json('GET', '/v3/organizations')).resources as Json[];
  const path = `/v3/organizations/${String(organization?.guid)}`;
  const user = one(await putUser(cloud.plane.client, { username: 'boss', password: 'secret' }));
  const place = { user, organization: one(String(organization?.guid)) };
  for (const type of ['organization_user', 'organization_manager'])
    await cloud.json('POST', '/v3/roles', { type, relationships: place });
  const boss = { token: String((await cloud.login('boss', 'secret')).body.access_token) };
  assert.equal((await cloud.call('PATCH', path, { suspended: true }, boss)).status, 403, 'not by its managers');
  const { app } = await makeApp(cloud, 'held', space);
  assert.equal((await cloud.json('PATCH', path, { suspended: true })).suspended, true);
  const refused = async (method: string, where: string, body: Json, options: { token: string }) => {
    const { status, body: answer } = await cloud.call(method, where, body, options);
    assert.deepEqual([status, firstError(answer).code], [403, 10017], `${method} ${where}`);
  };
  await refused('PATCH', `/v3/apps/${app}`, { metadata: { labels: { a: 'b' } } }, developer);
  await refused('POST', `/v3/apps/${app}/actions/start`, {}, developer);
  await refused('POST', '/v3/spaces', { name: 'x', relationships: { organization: place.organization } }, boss);
  await refused('PATCH', path, { name: 'renamed' }, boss);
  for (const where of [`/v3/apps/${app}`, `/v3/apps/${app}/env`, '/v3/space_quotas', '/v3/audit_events'])
    assert.equal((await cloud.call('GET', where, undefined, developer)).status, 200, where);
  assert.equal((await cloud.call('POST', `/v3/apps/${app}/actions/start`)).status, 200);
  await cloud.json('PATCH', path, { suspended: false });
  assert.equal((await cloud.call('POST', `/v3/apps/${app}/actions/stop`, {}, developer)).status, 200);
});

test('stacks and buildpacks: labels, filters, order; only administrators label them', async () => {
  const guidOf = async (path: string) => String(((await cloud.json('GET', path)).resources as Json[])[0]?.guid);
  const total = async (path: string) => ((await cloud.json('GET', path)).pagination as Json).total_results;
  for (const [kind, name] of [
    ['stacks', 'sampan'],
    ['buildpacks', 'nodejs'],
  ] as const) {
    const path = `/v3/${kind}/${await guidOf(`/v3/${kind}?names=${name}`)}`;
    const change = { metadata: { labels: { tier: 'base' }, annotations: { note: 'ours' } } };
    assert.equal((await cloud.call('PATCH', path, change, developer)).status, 403);
    assert.deepEqual((await cloud.json('PATCH', path, change)).metadata, change.metadata);
    assert.deepEqual((await cloud.json('GET', path)).metadata, change.metadata);
    assert.equal(await total(`/v3/${kind}?label_selector=tier%3Dbase`), 1);
    assert.equal(await total(`/v3/${kind}?label_selector=tier%3Dother`), 0);
    assert.equal((await cloud.call('GET', `/v3/${kind}?unknown=1`)).status, 400);
    await cloud.json('PATCH', path, { metadata: { labels: { tier: null }, annotations: { note: null } } });
    assert.deepEqual((await cloud.json('GET', path)).metadata, { labels: {}, annotations: {} });
  }
  assert.deepEqual([await total('/v3/stacks?default=true'), await total('/v3/stacks?default=false')], [1, 0]);
  assert.equal(await total('/v3/buildpacks?stacks=other'), 0);
});

test('stacks: an administrator says how far one may be used', async () => {
  const [stack] = (await cloud.json('GET', '/v3/stacks')).resources as Json[];
  const path = `/v3/stacks/${String(stack?.guid)}`;
  const { app } = await makeApp(cloud, 'older', space);
  const [item] = (await cloud.json('GET', `/v3/apps/${app}/packages`)).resources as Json[];
  const become = async (state: string, reason: string | null) => {
    const changed = await cloud.json('PATCH', path, { state, state_reason: reason });
    assert.deepEqual([changed.state, changed.state_reason], [state, reason]);
  };
  const another = (name: string) => cloud.call('POST', '/v3/apps', { name, relationships: { space: one(space) } });
  const build = async (): Promise<Answer> => {
    await cloud.until('no build under way', async () => {
      const { resources } = await cloud.json('GET', `/v3/builds?app_guids=${app}&states=STAGING`);
      return (resources as Json[]).length === 0;
    });
    return cloud.call('POST', '/v3/builds', { package: { guid: item?.guid } });
  };
  const warned = ({ headers }: Answer) => decodeURIComponent(headers.get('x-cf-warnings') ?? '');
  assert.deepEqual([stack?.state, stack?.state_reason, warned(await build())], ['ACTIVE', null, '']);
  assert.equal((await cloud.call('PATCH', path, { state: 'DISABLED' }, developer)).status, 403);
  assert.match((await cloud.call('PATCH', path, { state: 'OLD' })).text, /State must be one of ACTIVE, RESTRICTED/);
  await become('DEPRECATED', 'Too old.');
  const deprecated = await build();
  assert.equal(deprecated.status, 201);
  assert.equal(
    warned(deprecated),
    "WARNING: The stack 'sampan' is 'DEPRECATED' and will be removed in the future. Too old.",
  );
  assert.equal((await another('newer')).status, 201);
  await become('RESTRICTED', null);
  assert.match(warned(await build()), /'RESTRICTED' and will be removed in the future\.$/);
  const refused = await another('newest');
  assert.equal(refused.status, 422);
  assert.match(refused.text, /The stack 'sampan' is 'RESTRICTED' and cannot be used for staging/);
  await become('DISABLED', 'Gone.');
  assert.match((await build()).text, /is 'DISABLED' and cannot be used for staging\. Gone\./);
  await become('ACTIVE', null);
  assert.equal((await another('newest')).status, 201);
});
