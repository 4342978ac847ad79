import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readLogins, registriesSecretName } from '../resources/registry-logins.ts';
import { apps } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';

let cloud: TestCloud;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
});
after(() => cloud?.close());

const detail = (body: Json) => String(((body.errors as Json[])[0] ?? {}).detail);
const list = async (query = '') => (await cloud.json('GET', `/v3/buildpacks${query}`)).resources as Json[];
const names = async () => (await list()).map(({ name }) => name);
const guidOf = async (name: string) => String((await list(`?names=${name}`))[0]?.guid);

function bits(name = 'some.zip'): FormData {
  const form = new FormData();
  form.set('bits', new Blob(['zip bytes']), name);
  return form;
}

test('create, upload, use, update and delete', async () => {
  const made = await cloud.json('POST', '/v3/buildpacks', {
    name: 'own',
    position: 1,
    metadata: { labels: { a: 'b' } },
  });
  assert.deepEqual(
    [made.state, made.filename, made.stack, made.enabled, made.locked, made.position, made.lifecycle],
    ['AWAITING_UPLOAD', null, null, true, false, 1, 'buildpack'],
  );
  const path = `/v3/buildpacks/${String(made.guid)}`;
  const uploaded = await cloud.call('POST', `${path}/upload`, bits('dir/../my buildpack.zip'));
  assert.equal(uploaded.status, 202, uploaded.text);
  await cloud.finished(uploaded);
  const ready = await cloud.json('GET', path);
  assert.deepEqual([ready.state, ready.filename], ['READY', 'my_buildpack.zip']);
  assert.equal(((ready.links as Json).upload as Json).method, 'POST');

  const app = await cloud.json('POST', '/v3/apps', {
    name: 'uses',
    relationships: { space: { data: { guid: space } } },
    lifecycle: { type: 'buildpack', data: { buildpacks: ['own', 'https://github.com/a/b.git#v1'] } },
  });
  assert.deepEqual(((app.lifecycle as Json).data as Json).buildpacks, ['own', 'https://github.com/a/b.git#v1']);

  const renamed = await cloud.json('PATCH', path, { name: 'renamed', enabled: false, locked: true, stack: 'sampan' });
  assert.deepEqual([renamed.name, renamed.enabled, renamed.locked, renamed.stack], ['renamed', false, true, 'sampan']);
  assert.match(detail((await cloud.call('POST', `${path}/upload`, bits())).body), /^Buildpack is locked$/);
  assert.match(detail((await cloud.call('PATCH', path, { stack: null })).body), /stack cannot be changed/);
  assert.match(detail((await cloud.call('PATCH', path, { name: 'a b' })).body), /Name must be of letters/);
  const unusable = await cloud.call('PATCH', `/v3/apps/${String(app.guid)}`, {
    lifecycle: { type: 'buildpack', data: { buildpacks: ['renamed'] } },
  });
  assert.match(detail(unusable.body), /"renamed" must be an existing admin buildpack or a valid git URI/);
  await cloud.finished(await cloud.call('DELETE', path));
  assert.equal((await cloud.call('GET', path)).status, 404);
  const told = (
    (await cloud.json('GET', `/v3/audit_events?target_guids=${String(made.guid)}`)).resources as Json[]
  ).map(({ type }) => type);
  assert.deepEqual(
    told.sort(),
    ['create', 'delete', 'update', 'upload'].map((verb) => `audit.buildpack.${verb}`),
  );
});

test('one order over all, which the platform follows and keeps', async () => {
  for (const [name, position] of [
    ['x', 1],
    ['y', 2],
    ['z', 99],
  ] as const)
    await cloud.json('POST', '/v3/buildpacks', { name, position });
  assert.deepEqual(await names(), ['x', 'y', 'nodejs', 'z']);
  await cloud.json('PATCH', `/v3/buildpacks/${await guidOf('nodejs')}`, { position: 1, enabled: false });
  await cloud.json('PATCH', `/v3/buildpacks/${await guidOf('x')}`, { position: 3 });
  assert.deepEqual(await names(), ['nodejs', 'y', 'x', 'z']);
  assert.deepEqual(
    (await list()).map(({ position }) => position),
    [1, 2, 3, 4],
  );
  assert.deepEqual(
    (await list()).map(({ enabled }) => enabled),
    [false, true, true, true],
  );
  await cloud.restart();
  assert.deepEqual(await names(), ['nodejs', 'y', 'x', 'z']);
  await cloud.json('PATCH', `/v3/buildpacks/${await guidOf('nodejs')}`, { enabled: true });
  // Many at once: each finds its place, and no place is lost.
  await Promise.all(['p', 'q', 'r'].map((name) => cloud.json('POST', '/v3/buildpacks', { name, position: 2 })));
  assert.deepEqual(
    (await list()).map(({ position }) => position),
    [1, 2, 3, 4, 5, 6, 7],
  );
  assert.deepEqual((await names()).slice(1, 4).sort(), ['p', 'q', 'r']);
  for (const name of ['x', 'y', 'z', 'p', 'q', 'r'])
    await cloud.finished(await cloud.call('DELETE', `/v3/buildpacks/${await guidOf(name)}`));
  assert.deepEqual(await names(), ['nodejs']);
});

test('what is not allowed is said', async () => {
  const refused = async (method: string, path: string, body: unknown, said: RegExp) => {
    const answer = await cloud.call(method, path, body);
    assert.equal(answer.status, 422, answer.text);
    assert.match(detail(answer.body), said);
  };
  await cloud.json('POST', '/v3/buildpacks', { name: 'twice' });
  await refused(
    'POST',
    '/v3/buildpacks',
    { name: 'twice' },
    /with name 'twice' and an unassigned stack already exists/,
  );
  await refused('POST', '/v3/buildpacks', { name: 'nodejs', stack: 'sampan' }, /with name 'nodejs', stack 'sampan'/);
  await refused('POST', '/v3/buildpacks', {}, /Name can't be blank/);
  await refused('POST', '/v3/buildpacks', { name: 's', stack: 'cflinuxfs9' }, /Stack 'cflinuxfs9' does not exist/);
  await refused('POST', '/v3/buildpacks', { name: 's', position: 0 }, /greater than or equal to 1/);
  await refused('POST', '/v3/buildpacks', { name: 's', lifecycle: 'cnb' }, /runs Cloud Native Buildpacks too/);
  const shipped = `/v3/buildpacks/${await guidOf('nodejs')}`;
  await refused('DELETE', shipped, undefined, /the platform's own and cannot be deleted: disable it/);
  await refused('POST', `${shipped}/upload`, bits(), /Buildpack is locked/);
  await refused('POST', `/v3/buildpacks/${await guidOf('twice')}/upload`, new FormData(), /must be uploaded as 'bits'/);
  for (const [name, said] of [
    ['https://me:secret@example.com/x.git', /"https:\/\/\*\*\*@example\.com\/x\.git" cannot be used: .*login/],
    ['git@example.com:x.git', /only https:\/\/ and http:\/\/ addresses/],
    ['nonsense', /must be an existing admin buildpack/],
  ] as const) {
    const lifecycle = { type: 'buildpack', data: { buildpacks: [name] } };
    await refused(
      'POST',
      '/v3/apps',
      { name: 'n', relationships: { space: { data: { guid: space } } }, lifecycle },
      said,
    );
  }
});

test('logins for builder images are kept in a Secret, shown to nobody, and taken away by null', async () => {
  const hub = { username: 'ann', password: 'pass-1' };
  const other = { token: 'pass-2' };
  const lifecycle = (credentials: unknown) => ({
    type: 'cnb',
    data: { buildpacks: ['docker://registry.example.com/builder:1'], credentials },
  });
  const made = await cloud.json('POST', '/v3/apps', {
    name: 'logs-in',
    relationships: { space: { data: { guid: space } } },
    lifecycle: lifecycle({ 'index.docker.io': hub, 'registry.example.com:5000': other }),
  });
  const guid = String(made.guid);
  const path = `/v3/apps/${guid}`;
  const shown = (app: Json) => ((app.lifecycle as Json).data as Json).credentials;
  const { items } = await cloud.plane.client.list(apps);
  const { namespace = '' } = items.find(({ metadata }) => metadata.name === guid)?.metadata ?? {};
  const kept = () => readLogins(cloud.plane.client, registriesSecretName(guid), namespace);
  assert.equal(shown(made), '***');
  assert.deepEqual(await kept(), { 'docker.io': hub, 'registry.example.com:5000': other });

  const yaml = { headers: { 'content-type': 'application/x-yaml' } };
  const apply = async (credentials: string) => {
    const text = `applications:\n- name: logs-in\n  lifecycle: cnb\n${credentials}`;
    return await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, text, yaml);
  };
  await cloud.finished(await apply(''));
  assert.deepEqual(
    Object.keys(await kept()),
    ['docker.io', 'registry.example.com:5000'],
    'a push says nothing of them',
  );
  await cloud.finished(await apply('  cnb-credentials: {ghcr.io: {username: ann, password: pass-3}}\n'));
  assert.deepEqual(await kept(), { 'ghcr.io': { username: 'ann', password: 'pass-3' } });
  await cloud.json('PATCH', path, { lifecycle: lifecycle({ 'ghcr.io': { token: 'pass-5' } }) });
  assert.deepEqual(await kept(), { 'ghcr.io': { token: 'pass-5' } });

  const manifest = 'applications:\n- name: new\n  lifecycle: cnb\n  cnb-credentials: {ghcr.io: {token: pass-4}}\n';
  const difference = await cloud.call('POST', `/v3/spaces/${space}/manifest_diff`, manifest, yaml);
  const others = await Promise.all(
    [path, `/v3/apps/${guid}/manifest`, `/v3/audit_events?target_guids=${guid}`].map((at) => cloud.call('GET', at)),
  );
  for (const { text } of [difference, ...others]) assert.doesNotMatch(text, /pass-\d/);

  for (const wrong of [
    { 'ghcr.io': 'ann:secret' },
    { 'ghcr.io': { username: 'ann' } },
    { 'ghcr.io': { username: 'ann', password: 'x', token: 'y' } },
    { 'https://ghcr.io/v2': hub },
    'ann:secret',
  ]) {
    const refused = await cloud.call('PATCH', path, { lifecycle: lifecycle(wrong) });
    assert.equal(refused.status, 422);
    assert.match(detail(refused.body), /^Lifecycle data credentials/);
  }
  const refused = await apply('  cnb-credentials: {ghcr.io: {username: ann}}\n');
  assert.match(
    detail(refused.body),
    /'logs-in': cnb-credentials: credentials for registry "ghcr\.io" must have a username/,
  );
  assert.equal(shown(await cloud.json('PATCH', path, { lifecycle: lifecycle(null) })), undefined);
  assert.deepEqual(await kept(), {});
});

test('what builds left is forgotten: of one app, and by an administrator of all', async () => {
  const makeApp = async (name: string) => {
    const body = { name, relationships: { space: { data: { guid: space } } } };
    return String((await cloud.json('POST', '/v3/apps', body)).guid);
  };
  const [one, two] = [await makeApp('cached-one'), await makeApp('cached-two')];
  const clear = async (path: string) => (await cloud.finished(await cloud.call('POST', path))).state;
  assert.equal(await clear(`/v3/apps/${one}/actions/clear_buildpack_cache`), 'COMPLETE');
  assert.deepEqual(cloud.forgotten, [one]);
  assert.equal(await clear('/v3/admin/actions/clear_buildpack_cache'), 'COMPLETE');
  for (const app of [one, two]) assert.ok(cloud.forgotten.slice(1).includes(app));
});
