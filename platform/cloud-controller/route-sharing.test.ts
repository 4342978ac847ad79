/** Routes that several spaces have, and routes that go from one to another. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { annotations, routes } from '../resources/types.ts';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';

let cloud: TestCloud;
let organization: string;
let domain: string;
/** The space that there is, and another. */
let near: string;
let far: string;
/** One of the other space alone. */
let developer: { token: string };

const one = (guid: string) => ({ data: { guid } });
const firstDetail = ({ body }: Answer): string => String((body.errors as Json[])[0]?.detail);
const first = async (path: string): Promise<string> =>
  String(((await cloud.json('GET', path)).resources as Json[])[0]?.guid);

before(async () => {
  cloud = await startTestCloud();
  near = await first('/v3/spaces');
  organization = await first('/v3/organizations');
  domain = await first('/v3/domains?names=apps.test');
  far = String(
    (await cloud.json('POST', '/v3/spaces', { name: 'far', relationships: { organization: one(organization) } })).guid,
  );
  const user = one(await putUser(cloud.plane.client, { username: 'dev', password: 'secret' }));
  await cloud.json('POST', '/v3/roles', {
    type: 'organization_user',
    relationships: { user, organization: one(organization) },
  });
  await cloud.json('POST', '/v3/roles', { type: 'space_developer', relationships: { user, space: one(far) } });
  developer = { token: String((await cloud.login('dev', 'secret')).body.access_token) };
});
after(() => cloud?.close());

async function newRoute(host: string): Promise<string> {
  return String(
    (await cloud.json('POST', '/v3/routes', { host, relationships: { space: one(near), domain: one(domain) } })).guid,
  );
}

async function newApp(name: string, space: string): Promise<string> {
  return String((await cloud.json('POST', '/v3/apps', { name, relationships: { space: one(space) } })).guid);
}

const flag = (enabled: boolean) => cloud.json('PATCH', '/v3/feature_flags/route_sharing', { enabled });
const shared = (route: string) => `/v3/routes/${route}/relationships/shared_spaces`;
const share = (route: string, ...spaces: string[]) =>
  cloud.call('POST', shared(route), { data: spaces.map((guid) => ({ guid })) });
const move = (route: string, space: string) =>
  cloud.call('PATCH', `/v3/routes/${route}/relationships/space`, one(space));
const lead = (route: string, app: string) =>
  cloud.call('POST', `/v3/routes/${route}/destinations`, { destinations: [{ app: { guid: app } }] });
const spaceOf = async (route: string) =>
  (((await cloud.json('GET', `/v3/routes/${route}`)).relationships as Json).space as Json).data;
const seen = async (query = ''): Promise<unknown[]> => {
  const { body } = await cloud.call('GET', `/v3/routes?${query}`, undefined, developer);
  return (body.resources as Json[]).map(({ guid }) => guid);
};

test('nobody shares while the flag is off, administrators neither', async () => {
  const route = await newRoute('early');
  for (const answer of [await share(route, far), await move(route, far), await cloud.call('GET', shared(route))]) {
    assert.equal(answer.status, 403);
    assert.match(answer.text, /Feature Disabled: route_sharing/);
  }
});

test('a shared route is seen there, leads to apps of both spaces, and is changed by its own alone', async () => {
  await flag(true);
  const route = await newRoute('both');
  const [here, there] = [await newApp('here', near), await newApp('there', far)];
  assert.match(firstDetail(await lead(route, there)), /^Routes destinations must be in either the route's space or/);
  assert.deepEqual(await seen(), []);
  const answer = await share(route, far);
  assert.deepEqual([answer.status, answer.body.data], [200, [{ guid: far }]]);
  assert.deepEqual((await share(route, far)).body.data, [{ guid: far }], 'twice is once');
  assert.deepEqual((await cloud.json('GET', shared(route))).data, [{ guid: far }]);
  assert.deepEqual(
    [await seen(), await seen(`space_guids=${far}`), await seen(`space_guids=${near}`)],
    [[route], [route], [route]],
  );
  assert.equal((await cloud.call('GET', `/v3/routes/${route}`, undefined, developer)).status, 200);
  for (const [method, path, body] of [
    ['DELETE', `/v3/routes/${route}`, undefined],
    ['PATCH', `/v3/routes/${route}`, { metadata: {} }],
    ['POST', shared(route), { data: [{ guid: far }] }],
  ] as const) {
    assert.equal((await cloud.call(method, path, body, developer)).status, 403, `${method} ${path}`);
  }
  assert.equal((await lead(route, here)).status, 200);
  assert.equal((await lead(route, there)).status, 200);
  const [ofThere] = (await cloud.json('GET', `/v3/apps/${there}/routes`)).resources as Json[];
  assert.equal(ofThere?.guid, route);
  const { system_env_json: _system, application_env_json } = await cloud.json('GET', `/v3/apps/${there}/env`);
  assert.match(JSON.stringify(application_env_json), /"uris":\["both\.apps\.test"\]/);
  assert.match((await cloud.call('GET', `/v3/apps/${there}/manifest`)).text, /route: "?both\.apps\.test/);

  assert.match(
    firstDetail(await share(route, near)),
    /Routes cannot be shared into the space where they were created\.$/,
  );
  assert.equal(
    firstDetail(await share(route, 'nobody')),
    "Unable to share route both.apps.test with spaces ['nobody']. Ensure the spaces exist and that you have access to them.",
  );
  const unshare = (space: string) => cloud.call('DELETE', `${shared(route)}/${space}`);
  assert.match(firstDetail(await unshare(near)), /Routes cannot be removed from the space that owns them\.$/);
  assert.match(firstDetail(await unshare('nobody')), /Ensure the space exists and that you have access to it\.$/);
  assert.equal((await unshare(far)).status, 204);
  assert.deepEqual((await cloud.json('GET', shared(route))).data, []);
  assert.deepEqual(await seen(), []);
  await cloud.finished(await cloud.call('DELETE', `/v3/apps/${there}`));
  const { destinations } = await cloud.json('GET', `/v3/routes/${route}`);
  assert.deepEqual(
    (destinations as Json[]).map(({ app }) => (app as Json).guid),
    [here],
    'it goes with its app',
  );
});

test('a route moves to another space with all that is of it, and is shared with the one before', async () => {
  await flag(true);
  const route = await newRoute('moving');
  const app = await newApp('stays', near);
  await lead(route, app);
  await cloud.json('PATCH', `/v3/routes/${route}`, { metadata: { labels: { tier: 'gold' } } });
  const before = await cloud.json('GET', `/v3/routes/${route}`);
  assert.match(
    firstDetail(await move(route, 'nobody')),
    /^Unable to transfer owner of route 'moving\.apps\.test' to space 'nobody'\. Ensure/,
  );
  assert.equal((await move(route, near)).status, 200, 'where it is already');
  // Writes that come meanwhile are not lost.
  const [moved, ...written] = await Promise.all([
    move(route, far),
    ...['a', 'b', 'c'].map((key) =>
      cloud.call('PATCH', `/v3/routes/${route}`, { metadata: { annotations: { [key]: key } } }),
    ),
  ]);
  assert.deepEqual([moved.status, moved.body], [200, { status: 'ok' }], moved.text);
  assert.deepEqual(
    written.map(({ status }) => status),
    [200, 200, 200],
  );
  const after = await cloud.json('GET', `/v3/routes/${route}`);
  assert.deepEqual(await spaceOf(route), { guid: far });
  assert.deepEqual((await cloud.json('GET', shared(route))).data, [{ guid: near }]);
  for (const field of ['guid', 'created_at', 'url', 'destinations'])
    assert.deepEqual(after[field], before[field], field);
  assert.deepEqual(after.metadata, { labels: { tier: 'gold' }, annotations: { a: 'a', b: 'b', c: 'c' } });
  const { items } = await cloud.plane.client.list(routes);
  assert.deepEqual(
    items.filter(({ metadata }) => metadata.name === route).map(({ metadata }) => metadata.namespace),
    ['default-far'],
  );
  const again = await cloud.call('POST', '/v3/routes', {
    host: 'moving',
    relationships: { space: one(near), domain: one(domain) },
  });
  assert.match(firstDetail(again), /already exists/);
  assert.equal((await cloud.call('DELETE', `/v3/routes/${route}`, undefined, developer)).status, 202);
  await cloud.until('it to go', async () => (await cloud.call('GET', `/v3/routes/${route}`)).status === 404);
  assert.equal(typeof (await newRoute('moving')), 'string', 'its host is free again');
});

test('what holds a route where it is: the quota of the other space, a domain that is not there, a service', async () => {
  await flag(true);
  const route = await newRoute('held');
  const quota = String(
    (
      await cloud.json('POST', '/v3/space_quotas', {
        name: 'none',
        routes: { total_routes: 0 },
        relationships: { organization: one(organization), spaces: { data: [{ guid: far }] } },
      })
    ).guid,
  );
  assert.match(
    firstDetail(await move(route, far)),
    /^Routes quota exceeded for space 'none'|Routes quota exceeded for space/,
  );
  await cloud.call('DELETE', `/v3/space_quotas/${quota}/relationships/spaces/${far}`);
  const next = String((await cloud.json('POST', '/v3/organizations', { name: 'next' })).guid);
  const other = String(
    (await cloud.json('POST', '/v3/spaces', { name: 'other', relationships: { organization: one(next) } })).guid,
  );
  const own = String(
    (await cloud.json('POST', '/v3/domains', { name: 'own.test', relationships: { organization: one(organization) } }))
      .guid,
  );
  const ofOwn = String(
    (await cloud.json('POST', '/v3/routes', { host: 'x', relationships: { space: one(near), domain: one(own) } })).guid,
  );
  assert.match(firstDetail(await move(ofOwn, other)), /Target space does not have access to route's domain$/);
  const service = await cloud.json('POST', '/v3/service_instances', {
    type: 'user-provided',
    name: 'door',
    route_service_url: 'https://door.example.com',
    relationships: { space: one(near) },
  });
  await cloud.json('POST', '/v3/service_route_bindings', {
    relationships: { route: one(route), service_instance: one(String(service.guid)) },
  });
  assert.match(firstDetail(await move(route, far)), /bound to a service instance/);
  assert.deepEqual(await spaceOf(route), { guid: near });
  // A space that goes takes itself out of what was shared with it.
  await share(route, far);
  await cloud.finished(await cloud.call('DELETE', `/v3/spaces/${far}`));
  assert.deepEqual((await cloud.json('GET', shared(route))).data, []);
});

test('a move that a crash interrupted after either of its steps is finished at the next start', async () => {
  await flag(true);
  const space = await cloud.json('POST', '/v3/spaces', {
    name: 'third',
    relationships: { organization: one(organization) },
  });
  const namespace = cloud.api.context.records.spaces.get(String(space.guid))?.spec.namespace ?? '';
  const [begun, made] = [await newRoute('begun'), await newRoute('made')];
  const { client } = cloud.plane;
  await cloud.restart(async () => {
    for (const name of [begun, made]) {
      const old = await client.get(routes, name, 'default-dev');
      const leaving = { ...old.metadata.annotations, [annotations.leaving]: namespace };
      await client.update(routes, { ...old, metadata: { ...old.metadata, annotations: leaving } });
      if (name === begun) continue;
      const copy = { ...old, metadata: { name, namespace }, spec: { ...old.spec, sharedWith: [near] } };
      await client.create(routes, copy);
    }
  });
  for (const route of [begun, made]) {
    assert.deepEqual(await spaceOf(route), { guid: space.guid });
    assert.deepEqual((await cloud.json('GET', shared(route))).data, [{ guid: near }]);
  }
  const { items } = await client.list(routes);
  const left = items.filter(({ metadata }) => metadata.name === begun || metadata.name === made);
  assert.deepEqual(
    left.map(({ metadata }) => metadata.namespace),
    [namespace, namespace],
  );
});
