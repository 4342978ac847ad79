/** Droplets that are sent, fetched and copied, and images that need a login. What staging does with the bytes is in its own tests. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods, secrets } from '../resources/kubernetes.ts';
import { labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { type Answer, DIGEST, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';
import { Tenancy } from './tenancy.fixture.ts';

let cloud: TestCloud;
let space: string;
let source: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  source = (await makeApp(cloud, 'source', space)).app;
});
after(() => cloud?.close());

const one = (guid: unknown) => ({ data: { guid } });

async function newApp(name: string, rest: Json = {}, where = space): Promise<string> {
  return String((await cloud.json('POST', '/v3/apps', { name, relationships: { space: one(where) }, ...rest })).guid);
}

function newSpace(name: string): Promise<string> {
  const organization = [...cloud.api.context.records.organizations.all()][0]?.metadata.name;
  const body = { name, relationships: { organization: one(organization) } };
  return cloud.json('POST', '/v3/spaces', body).then(({ guid }) => String(guid));
}

const send = (droplet: unknown, part = 'bits'): Promise<Answer> => {
  const form = new FormData();
  form.set(part, new Blob(['an archive']), 'droplet.tgz');
  return cloud.call('POST', `/v3/droplets/${String(droplet)}/upload`, form);
};

function refusal(answer: Answer, status = 422): string {
  assert.equal(answer.status, status, answer.text);
  return String((answer.body.errors as Json[])[0]?.detail);
}

/** The newest pod of an app. */
function podOf(app: string): Promise<Stored<Pod>> {
  return cloud.until('its pod', async () => {
    const { items } = await cloud.plane.client.list(pods, { labelSelector: `${labels.app}=${app}` });
    return items.toSorted((a, b) => Number(b.metadata.resourceVersion) - Number(a.metadata.resourceVersion))[0];
  });
}

const eventsOf = async (app: string): Promise<unknown[]> =>
  ((await cloud.json('GET', `/v3/audit_events?target_guids=${app}&per_page=100`)).resources as Json[]).map(
    ({ type }) => type,
  );

test('a droplet is made, awaits its upload, and runs then with the commands that came with it', async () => {
  const app = await newApp('uploaded');
  const droplet = await cloud.json('POST', '/v3/droplets', { relationships: { app: one(app) } });
  assert.equal(droplet.state, 'AWAITING_UPLOAD');
  assert.deepEqual(droplet.process_types, { web: '' });
  assert.match(String(((droplet.links as Json).upload as Json).href), /\/upload$/);
  const assign = () => cloud.call('PATCH', `/v3/apps/${app}/relationships/current_droplet`, one(droplet.guid));
  assert.match(refusal(await assign()), /Unable to assign current droplet/);
  assert.match(
    refusal(await cloud.call('GET', `/v3/droplets/${String(droplet.guid)}/download`)),
    /Only staged droplets/,
  );
  assert.match(refusal(await send(droplet.guid, 'other')), /must be uploaded as 'bits'/);
  const uploaded = await send(droplet.guid);
  assert.equal((await cloud.finished(uploaded)).state, 'COMPLETE');
  assert.equal(uploaded.body.state, 'STAGED');
  assert.deepEqual(uploaded.body.process_types, { web: 'node stored.js', worker: 'node worker.js' });
  assert.match(refusal(await send(droplet.guid)), /may be uploaded only once/);
  assert.equal((await assign()).status, 200);
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  const [container] = (await podOf(app)).spec?.containers ?? [];
  assert.equal(container?.image, `registry/cf/${app}@${DIGEST}`);
  assert.deepEqual(container?.args, ['web']);
  const types = await eventsOf(app);
  for (const type of ['create', 'upload', 'mapped']) assert.ok(types.includes(`audit.app.droplet.${type}`), type);
});

test('commands that are given with a droplet run, whatever its image says', async () => {
  const app = await newApp('given');
  const body = { relationships: { app: one(app) }, process_types: { web: 'node stored.js' } };
  const { guid } = await cloud.json('POST', '/v3/droplets', body);
  assert.deepEqual((await send(guid)).body.process_types, { web: 'node stored.js' });
  await cloud.json('PATCH', `/v3/apps/${app}/relationships/current_droplet`, one(guid));
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  // As a line for the shell: the name of a type would run what the image knows under it.
  assert.deepEqual((await podOf(app)).spec?.containers[0]?.args, ['node stored.js']);
});

test('droplets that nothing can come of are refused', async () => {
  const docker = await newApp('boxed', { lifecycle: { type: 'docker', data: {} } });
  const create = (rest: Json) => cloud.call('POST', '/v3/droplets', rest);
  assert.match(refusal(await create({ relationships: { app: one(docker) } })), /not available for apps with docker/);
  assert.match(refusal(await create({})), /Relationships App must be structured/);
  assert.match(refusal(await create({ relationships: { app: one('nobody') } })), /does not exist/);
  const types = { relationships: { app: one(source) }, process_types: { '': 'x', web: 3 } };
  assert.match(refusal(await create(types)), /Process types must be named/);
});

test('a droplet is downloaded by whom Cloud Foundry lets, and it is written down', async () => {
  const { guid } = await cloud.json('GET', `/v3/apps/${source}/droplets/current`);
  const got = await cloud.call('GET', `/v3/droplets/${String(guid)}/download`);
  assert.deepEqual([got.status, got.text], [200, 'droplet']);
  assert.ok((await eventsOf(source)).includes('audit.app.droplet.download'));
  const token = await new Tenancy(cloud).token('supporter');
  const [user] = (await cloud.json('GET', '/v3/users?usernames=supporter')).resources as Json[];
  const organization = cloud.api.context.records.spaces.get(space)?.spec.organization;
  const grant = (type: string, place: Json) =>
    cloud.json('POST', '/v3/roles', { type, relationships: { user: one(user?.guid), ...place } });
  await grant('organization_user', { organization: one(organization) });
  await grant('space_supporter', { space: one(space) });
  refusal(await cloud.call('GET', `/v3/droplets/${String(guid)}/download`, undefined, { token }), 403);
  const copy = { relationships: { app: one(source) } };
  refusal(await cloud.call('POST', `/v3/droplets?source_guid=${String(guid)}`, copy, { token }), 403);
});

test('a droplet is copied to an app of another space, and stays when its first app goes', async () => {
  const { app: old } = await makeApp(cloud, 'old', space);
  const { guid } = await cloud.json('GET', `/v3/apps/${old}/droplets/current`);
  const target = await newApp('target', {}, await newSpace('other'));
  const copy = await cloud.json('POST', `/v3/droplets?source_guid=${String(guid)}`, {
    relationships: { app: one(target) },
  });
  assert.equal(copy.state, 'STAGED');
  assert.notEqual(copy.guid, guid);
  assert.equal(copy.image, `registry/cf/${target}@${DIGEST}`);
  assert.deepEqual(copy.process_types, { web: 'node server.js' });
  await cloud.finished(await cloud.call('DELETE', `/v3/apps/${old}`));
  await cloud.json('PATCH', `/v3/apps/${target}/relationships/current_droplet`, one(copy.guid));
  assert.equal((await cloud.json('POST', `/v3/apps/${target}/actions/start`)).state, 'STARTED');
  const docker = await newApp('boxed-target', { lifecycle: { type: 'docker', data: {} } });
  const mixed = await cloud.call('POST', `/v3/droplets?source_guid=${String(copy.guid)}`, {
    relationships: { app: one(docker) },
  });
  assert.match(refusal(mixed), /lifecycle types do not match/);
});

test('a package is copied only by whom may change both apps', async () => {
  const [item] = (await cloud.json('GET', `/v3/apps/${source}/packages`)).resources as Json[];
  const target = await newApp('copied');
  const copy = (app: string, token = cloud.token) =>
    cloud.call(
      'POST',
      `/v3/packages?source_guid=${String(item?.guid)}`,
      { relationships: { app: one(app) } },
      { token },
    );
  const made = await copy(target);
  assert.deepEqual([made.status, made.body.state], [201, 'READY'], made.text);
  assert.match(refusal(await copy(source)), /cannot be the same/);
  const token = await new Tenancy(cloud).token('reader', ['cloud_controller.admin_read_only']);
  refusal(await copy(target, token), 403);
});

test('rebase makes a droplet on the newest stack, which runs when it is deployed; the old one stays', async () => {
  const app = await newApp('rebased');
  const path = `/v3/apps/${app}/actions/rebase`;
  assert.match(refusal(await cloud.call('POST', path)), /has no droplet/);
  const empty = await cloud.json('POST', '/v3/droplets', { relationships: { app: one(app) } });
  await cloud.finished(await send(empty.guid));
  const before = String(empty.guid);
  await cloud.json('PATCH', `/v3/apps/${app}/relationships/current_droplet`, one(before));
  const made = await cloud.call('POST', path);
  assert.equal(made.status, 201, made.text);
  assert.deepEqual([made.body.state, (made.body.checksum as Json).value], ['STAGED', '1'.repeat(64)]);
  assert.deepEqual(made.body.process_types, (await cloud.json('GET', `/v3/droplets/${before}`)).process_types);
  await cloud.json('POST', '/v3/deployments', { droplet: { guid: made.body.guid }, relationships: { app: one(app) } });
  const again = await cloud.call('POST', path);
  assert.deepEqual([again.status, again.body.guid], [200, made.body.guid]);
  assert.ok((await eventsOf(app)).includes('audit.app.droplet.create'));
  assert.equal((await cloud.json('GET', `/v3/droplets/${before}`)).state, 'STAGED');
});

test('the login of a docker image reaches the pods that need it, in the form that nodes pull with', async () => {
  const lifecycle = { type: 'docker', data: {} };
  const app = await newApp('private', { lifecycle });
  const image = 'registry.example.com:5000/team/app:v1';
  const item = await cloud.json('POST', '/v3/packages', {
    type: 'docker',
    relationships: { app: one(app) },
    data: { image, username: 'ann', password: 'first' },
  });
  assert.deepEqual(item.data, { image, username: 'ann', password: '***' });
  const changed = await cloud.json('PATCH', `/v3/packages/${String(item.guid)}`, { password: 'secret' });
  assert.deepEqual(changed.data, { image, username: 'ann', password: '***' });
  const build = await cloud.json('POST', '/v3/builds', { package: { guid: item.guid } });
  const staged = await cloud.until('the build', async () => {
    const now = await cloud.json('GET', `/v3/builds/${String(build.guid)}`);
    return now.state === 'STAGED' && now;
  });
  const droplet = String((staged.droplet as Json).guid);
  await cloud.json('PATCH', `/v3/apps/${app}/relationships/current_droplet`, one(droplet));
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  const expected = { 'registry.example.com:5000': { username: 'ann', password: 'secret', auth: btoa('ann:secret') } };
  assert.deepEqual(await loginOf(await podOf(app)), expected);
  // In another namespace the copy has a login of its own.
  const target = await newApp('private-target', { lifecycle }, await newSpace('third'));
  const copy = await cloud.json('POST', `/v3/droplets?source_guid=${droplet}`, { relationships: { app: one(target) } });
  await cloud.json('PATCH', `/v3/apps/${target}/relationships/current_droplet`, one(copy.guid));
  await cloud.json('POST', `/v3/apps/${target}/actions/start`);
  assert.deepEqual(await loginOf(await podOf(target)), expected);
  const bits = await cloud.json('POST', '/v3/packages', { type: 'bits', relationships: { app: one(source) } });
  refusal(await cloud.call('PATCH', `/v3/packages/${String(bits.guid)}`, { username: 'ann' }));
});

async function loginOf(pod: Stored<Pod>): Promise<unknown> {
  const name = String(pod.spec?.imagePullSecrets?.[0]?.name);
  const secret = await cloud.plane.client.get(secrets, name, pod.metadata.namespace);
  assert.equal(secret.type, 'kubernetes.io/dockerconfigjson');
  return (JSON.parse(atob(String(secret.data?.['.dockerconfigjson']))) as Json).auths;
}
