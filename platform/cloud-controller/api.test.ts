import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { endpointTable } from './table.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';

let cloud: TestCloud;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
});
after(() => cloud?.close());

function errorOf(answer: { body: Json }): Json {
  return (answer.body.errors as Json[])[0] ?? {};
}

const inSpace = (guid: string) => ({ relationships: { space: { data: { guid } } } });

test('uaa: password, refresh, wrong password, lock-out', async () => {
  const good = await cloud.login('admin', cloud.password);
  assert.equal(good.status, 200);
  const [, claims = ''] = String(good.body.access_token).split('.');
  const payload = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Json;
  assert.equal(payload.user_name, 'admin');
  assert.equal(payload.cid, 'cf');
  assert.equal(payload.iss, 'https://uaa.test/oauth/token');
  assert.equal(Number(payload.exp) - Number(payload.iat), 600);
  const refreshed = await fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: String(good.body.refresh_token) }),
  });
  assert.equal(refreshed.status, 200);
  const next = (await refreshed.json()) as Json;
  assert.notEqual(next.refresh_token, good.body.refresh_token);
  for (let attempt = 0; attempt < 5; attempt++) {
    const bad = await cloud.login('nobody', 'wrong');
    assert.equal(bad.status, 401);
    assert.deepEqual(bad.body, { error: 'unauthorized', error_description: 'Bad credentials' });
  }
  assert.match(String((await cloud.login('nobody', 'wrong')).body.error_description), /locked/);
  const keys = (await (await fetch(`${cloud.uaaUrl}/token_keys`)).json()) as { keys: Json[] };
  assert.equal(keys.keys[0]?.alg, 'RS256');
  const refreshAsAccess = await cloud.call('GET', '/v3/apps', undefined, { token: String(good.body.refresh_token) });
  assert.equal(errorOf(refreshAsAccess).code, 1000, 'a refresh token is no access token');
});

test('uaa: a new password voids refresh tokens', async () => {
  const { client } = cloud.plane;
  await putUser(client, { username: 'jane', password: 'one' });
  const before = await cloud.login('jane', 'one');
  assert.equal(before.status, 200);
  await putUser(client, { username: 'jane', password: 'two' });
  const refreshed = await fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: String(before.body.refresh_token) }),
  });
  assert.equal(refreshed.status, 401);
  assert.equal((await cloud.login('jane', 'one')).status, 401);
  assert.equal((await cloud.login('jane', 'two')).status, 200);
});

test('errors: in the form of Cloud Foundry', async () => {
  const none = await fetch(`${cloud.url}/v3/apps`);
  assert.equal(none.status, 401);
  assert.deepEqual(await none.json(), {
    errors: [{ code: 10002, title: 'CF-NotAuthenticated', detail: 'Authentication error' }],
  });
  assert.equal(
    errorOf(await cloud.call('GET', '/v3/apps', undefined, { token: 'rubbish' })).title,
    'CF-InvalidAuthToken',
  );
  assert.deepEqual(errorOf(await cloud.call('GET', '/v3/nothing')), {
    code: 10000,
    title: 'CF-NotFound',
    detail: 'Unknown request',
  });
  assert.deepEqual(errorOf(await cloud.call('GET', '/v3/apps/none')), {
    code: 10010,
    title: 'CF-ResourceNotFound',
    detail: 'App not found',
  });
  assert.equal(errorOf(await cloud.call('GET', '/v3/apps?colour=red')).code, 10005);
  assert.equal(errorOf(await cloud.call('GET', '/v3/apps?per_page=0')).code, 10005);
  assert.equal(
    errorOf(await cloud.call('POST', '/v3/apps', '{', { headers: { 'content-type': 'application/json' } })).code,
    1001,
  );
});

test('names: what cannot be one is refused with the reason', async () => {
  for (const [name, expected] of [
    ['', /can't be blank/],
    ['a\nb', /control character/],
    ['"quoted"', /quotation mark/],
    ['x'.repeat(256), /too long/],
    [7, /must be a string/],
  ] as const) {
    const answer = await cloud.call('POST', '/v3/apps', { name, ...inSpace(space) });
    assert.equal(answer.status, 422, JSON.stringify(name));
    assert.match(String(errorOf(answer).detail), expected);
  }
  const odd = await cloud.call('POST', '/v3/apps', { name: 'Ünï cödé (2)', ...inSpace(space) });
  assert.equal(odd.status, 201, 'no DNS label, and a name all the same');
  const again = await cloud.call('POST', '/v3/apps', { name: 'ÜNÏ CÖDÉ (2)', ...inSpace(space) });
  assert.equal(errorOf(again).title, 'CF-UniquenessError');
});

test('names: of many that create one at once, one wins', async () => {
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => cloud.call('POST', '/v3/apps', { name: 'race', ...inSpace(space) })),
  );
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [201, 422, 422, 422, 422, 422, 422, 422]);
});

test('app: its JSON is the documented one', async () => {
  const app = await cloud.json('POST', '/v3/apps', {
    name: 'golden',
    environment_variables: { A: 'b' },
    metadata: { labels: { team: 'x' }, annotations: {} },
    ...inSpace(space),
  });
  const guid = String(app.guid);
  const self = `https://api.test/v3/apps/${guid}`;
  assert.deepEqual(app, {
    guid,
    created_at: app.created_at,
    updated_at: app.updated_at,
    name: 'golden',
    state: 'STOPPED',
    lifecycle: { type: 'buildpack', data: { buildpacks: [], stack: 'sampan' } },
    relationships: { space: { data: { guid: space } }, current_droplet: { data: null } },
    metadata: { labels: { team: 'x' }, annotations: {} },
    links: {
      self: { href: self },
      environment_variables: { href: `${self}/environment_variables` },
      space: { href: `https://api.test/v3/spaces/${space}` },
      processes: { href: `${self}/processes` },
      packages: { href: `${self}/packages` },
      current_droplet: { href: `${self}/droplets/current` },
      droplets: { href: `${self}/droplets` },
      tasks: { href: `${self}/tasks` },
      start: { href: `${self}/actions/start`, method: 'POST' },
      stop: { href: `${self}/actions/stop`, method: 'POST' },
      restart: { href: `${self}/actions/restart`, method: 'POST' },
      revisions: { href: `${self}/revisions` },
      deployed_revisions: { href: `${self}/revisions/deployed` },
      features: { href: `${self}/features` },
    },
  });
  assert.match(String(app.created_at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const process = await cloud.json('GET', `/v3/apps/${guid}/processes/web`);
  assert.deepEqual(process.health_check, {
    type: 'port',
    data: { timeout: null, invocation_timeout: null, interval: null },
  });
  assert.equal(process.memory_in_mb, 256);
  const asRoot = await cloud.call('PATCH', `/v3/apps/${guid}/processes/web`, { user: 'root' });
  assert.match(String(errorOf(asRoot).detail), /User "root" cannot be chosen: an image says its user/);
  assert.equal((await cloud.json('PATCH', `/v3/apps/${guid}/processes/web`, { user: null })).user, null);
  const page = await cloud.json('GET', '/v3/apps?label_selector=team%3Dx&per_page=1');
  assert.equal((page.pagination as Json).total_results, 1);
  assert.equal(
    ((page.pagination as Json).first as Json).href,
    'https://api.test/v3/apps?label_selector=team%3Dx&per_page=1&page=1',
  );
  const start = await cloud.call('POST', `/v3/apps/${guid}/actions/start`);
  assert.match(String(errorOf(start).detail), /Assign a droplet/);
  const variable = await cloud.call('PATCH', `/v3/apps/${guid}/environment_variables`, { var: { VCAP_X: 'y' } });
  assert.equal(variable.status, 422);
  const manifest = await cloud.call('GET', `/v3/apps/${guid}/manifest`);
  assert.match(manifest.text, /name: golden/);
});

test('routes: unique, checked, and never the platform’s own', async () => {
  const domain = String(((await cloud.json('GET', '/v3/domains')).resources as Json[])[0]?.guid);
  const body = (host: unknown, path?: string) => ({
    host,
    ...(path === undefined ? {} : { path }),
    relationships: { space: { data: { guid: space } }, domain: { data: { guid: domain } } },
  });
  const route = await cloud.json('POST', '/v3/routes', body('shop', '/a'));
  assert.equal(route.url, 'shop.apps.test/a');
  assert.equal(errorOf(await cloud.call('POST', '/v3/routes', body('shop', '/a'))).code, 10008);
  for (const [host, path] of [
    ['api', undefined],
    ['*', undefined],
    ['', undefined],
    ['a b', undefined],
    ['-x', undefined],
    ['x"; drop', undefined],
    ['ok', 'nope'],
    ['ok', '/../x'],
    ['ok', '/a b'],
  ] as const) {
    assert.equal((await cloud.call('POST', '/v3/routes', body(host, path))).status, 422, `${host} ${path}`);
  }
  const found = await cloud.json('GET', `/v3/routes?hosts=shop&domain_guids=${domain}&paths=%2Fa&include=domain`);
  assert.equal((found.resources as Json[]).length, 1);
  assert.equal(((found.included as Json).domains as Json[]).length, 1);
  const reserved = await cloud.json('GET', `/v3/domains/${domain}/route_reservations?host=shop&path=/a`);
  assert.deepEqual(reserved, { matching_route: true });
});

test('spaces: a namespace each, a number when the name is taken, gone with the space', async () => {
  const organization = String(((await cloud.json('GET', '/v3/organizations')).resources as Json[])[0]?.guid);
  const make = (name: string) =>
    cloud.json('POST', '/v3/spaces', { name, relationships: { organization: { data: { guid: organization } } } });
  const one = await make('Über Space');
  const two = await make('uber.space');
  const namespaceOf = (guid: unknown) => cloud.api.context.records.spaces.get(String(guid))?.spec.namespace;
  assert.equal(namespaceOf(one.guid), 'default-u-ber-space');
  assert.equal(namespaceOf(two.guid), 'default-uber-space');
  const three = await make('uber space');
  assert.equal(namespaceOf(three.guid), 'default-uber-space-2');
  await cloud.json('POST', '/v3/apps', { name: 'x', ...inSpace(String(one.guid)) });
  const job = await cloud.finished(await cloud.call('DELETE', `/v3/spaces/${String(one.guid)}`));
  assert.equal(job.state, 'COMPLETE');
  await make('Über Space');
});

test('manifest: what is wrong is told before anything is done', async () => {
  const apply = (text: string) =>
    cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, text, {
      headers: { 'content-type': 'application/x-yaml' },
    });
  for (const [text, expected] of [
    ['applications: []', /no applications/],
    ['applications:\n- name: m\n  memory: lots', /Memory "lots" must use a supported unit/],
    ['applications:\n- name: m\n  memory: 2T', /Memory must be less than or equal to 1048576M/],
    ['applications:\n- name: m\n  instances: -1', /instances must be an integer/],
    ['applications:\n- name: m\n  health-check-type: maybe', /must be "port", "process", or "http"/],
    ['applications:\n- name: m\n  colour: red', /unknown attribute\(s\) "colour"/],
    ['applications:\n- name: m\n  env: {PORT: 1}', /PORT: the platform sets it/],
    ['a: &a [1]\nb: [*a', /parse error/],
  ] as const) {
    const answer = await apply(text);
    assert.ok(answer.status === 422 || answer.status === 400, answer.text);
    assert.match(answer.text.replaceAll('\\"', '"'), expected);
  }
  const unknownDomain = await cloud.finished(
    await apply('applications:\n- name: m\n  routes:\n  - route: a.elsewhere.test'),
  );
  assert.equal(unknownDomain.state, 'FAILED');
  assert.match(
    String((unknownDomain.errors as Json[])[0]?.detail),
    /For application 'm': The route .* did not match any existing domains/,
  );
});

test('upload: no multipart, nothing in it, twice', async () => {
  const app = await cloud.json('POST', '/v3/apps', { name: 'uploads', ...inSpace(space) });
  const item = await cloud.json('POST', '/v3/packages', {
    type: 'bits',
    relationships: { app: { data: { guid: app.guid } } },
  });
  const path = `/v3/packages/${String(item.guid)}/upload`;
  assert.equal(errorOf(await cloud.call('POST', path, 'rubbish')).code, 160001);
  assert.match(
    String(errorOf(await cloud.call('POST', path, new FormData())).detail),
    /invalid|either resources or bits/,
  );
  const form = () => {
    const data = new FormData();
    data.set('bits', new Blob(['x'.repeat(100_000)]), 'p.zip');
    return data;
  };
  const wrong = form();
  wrong.set('resources', JSON.stringify([{ checksum: { value: 'short' }, size_in_bytes: 1, path: 'x' }]));
  assert.match(String(errorOf(await cloud.call('POST', path, wrong)).detail), /Resources\[0\] checksum/);
  assert.equal((await cloud.call('POST', path, form())).body.state, 'READY');
  assert.equal(errorOf(await cloud.call('POST', path, form())).code, 150004);
});

test('builds: a failure is told as Cloud Foundry tells it', async () => {
  const app = await cloud.json('POST', '/v3/apps', { name: 'broken', ...inSpace(space) });
  const item = await cloud.json('POST', '/v3/packages', {
    type: 'bits',
    relationships: { app: { data: { guid: app.guid } } },
  });
  assert.match(
    String(errorOf(await cloud.call('POST', '/v3/builds', { package: { guid: item.guid } })).detail),
    /not ready/,
  );
  const form = new FormData();
  form.set('bits', new Blob(['x']), 'p.zip');
  await cloud.json('POST', `/v3/packages/${String(item.guid)}/upload`, form);
  cloud.staging.outcome = () => ({ error: { code: 'NoAppDetectedError', message: 'No buildpack knows this app' } });
  const build = await cloud.json('POST', '/v3/builds', { package: { guid: item.guid } });
  const failed = await cloud.until('the failure', async () => {
    const now = await cloud.json('GET', `/v3/builds/${String(build.guid)}`);
    return now.state === 'FAILED' && now;
  });
  cloud.staging.outcome = () => ({});
  assert.equal(failed.error, 'NoAppDetectedError - No buildpack knows this app');
  assert.equal(failed.droplet, null);
});

test('tenants: nobody reads or changes what is not theirs', async () => {
  await putUser(cloud.plane.client, { username: 'stranger', password: 'secret' });
  const token = String((await cloud.login('stranger', 'secret')).body.access_token);
  const app = await cloud.json('POST', '/v3/apps', { name: 'private', ...inSpace(space) });
  const guid = String(app.guid);
  const ids: Record<string, string> = { apps: guid, spaces: space, processes: guid };
  let looked = 0;
  for (const endpoint of endpointTable(cloud.api.context)) {
    if (endpoint.auth === 'none' || endpoint.rawBody) continue;
    const kind = endpoint.path.split('/')[2] ?? '';
    const id = ids[kind];
    if (!endpoint.path.includes(':guid') || id === undefined) continue;
    const path = endpoint.path
      .replace(':guid', id)
      .replace(':type', 'web')
      .replace(':index', '0')
      .replace(':name', 'ssh');
    const answer = await cloud.call(endpoint.method, path, endpoint.method === 'GET' ? undefined : {}, { token });
    assert.equal(answer.status, 404, `${endpoint.method} ${endpoint.path}: ${answer.text}`);
    looked++;
  }
  assert.ok(looked > 30, `${looked} endpoints`);
  for (const list of [
    'apps',
    'spaces',
    'organizations',
    'processes',
    'routes',
    'audit_events',
    'packages',
    'deployments',
  ]) {
    const answer = await cloud.call('GET', `/v3/${list}`, undefined, { token });
    assert.deepEqual(answer.body.resources, [], list);
  }
  const user = (await cloud.call('GET', '/v3/users?usernames=stranger')).body.resources as Json[];
  await cloud.json('POST', '/v3/roles', {
    type: 'space_auditor',
    relationships: { user: { data: { guid: user[0]?.guid } }, space: { data: { guid: space } } },
  });
  assert.equal((await cloud.call('GET', `/v3/apps/${guid}`, undefined, { token })).status, 200);
  assert.equal((await cloud.call('POST', `/v3/apps/${guid}/actions/stop`, {}, { token })).status, 403);
  assert.equal(
    (await cloud.call('GET', `/v3/apps/${guid}/env`, undefined, { token })).status,
    403,
    'secrets are for developers',
  );
});
