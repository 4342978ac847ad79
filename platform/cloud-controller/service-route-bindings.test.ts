/** Routes bound to services over the API, of brokers and of users. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { catalogOf, TestBroker } from '../services/broker.fixture.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';

let cloud: TestCloud;
let broker: TestBroker;
let space: string;
let domain: string;
const PATH = '/v3/service_route_bindings';

before(async () => {
  cloud = await startTestCloud({ tcpPorts: [1024] });
  broker = await new TestBroker().listen();
  broker.catalog = catalogOf({ requires: ['route_forwarding'], metadata: {} });
  broker.bound = { route_service_url: 'https://guard.example.com/check' };
  space = String((await list('/v3/spaces'))[0]?.guid);
  domain = String((await list('/v3/domains'))[0]?.guid);
  const authentication = { type: 'basic', credentials: { username: broker.username, password: broker.password } };
  const body = { name: 'main', url: broker.url, authentication, relationships: { space: one(space) } };
  await cloud.json('PATCH', '/v3/feature_flags/space_scoped_private_broker_creation', { enabled: true });
  const job = await cloud.finished(await cloud.call('POST', '/v3/service_brokers', body));
  assert.equal(job.state, 'COMPLETE', JSON.stringify(job));
});
after(async () => {
  await cloud?.close();
  await broker?.[Symbol.asyncDispose]();
});

const one = (guid: unknown) => ({ data: { guid } });
const list = async (path: string) => (await cloud.json('GET', path)).resources as Json[];
const refusal = (answer: Answer) => `${answer.status} ${String((answer.body.errors as Json[])[0]?.detail)}`;
const made = async (path: string, body: Json) => String((await cloud.json('POST', path, body)).guid);
const makeRoute = (host: string, rest: Json = {}) =>
  made('/v3/routes', { host, relationships: { space: one(space), domain: one(domain) }, ...rest });
const provided = (name: string, rest: Json = {}) => ({
  type: 'user-provided',
  name,
  relationships: { space: one(space) },
  ...rest,
});
const bind = (route: string, instance: string, rest: Json = {}) =>
  cloud.call('POST', PATH, { relationships: { route: one(route), service_instance: one(instance) }, ...rest });
const managed = async (name: string): Promise<string> => {
  const [plan] = await list('/v3/service_plans');
  const relationships = { space: one(space), service_plan: one(plan?.guid) };
  const answer = await cloud.call('POST', '/v3/service_instances', { type: 'managed', name, relationships });
  assert.equal((await cloud.finished(answer)).state, 'COMPLETE');
  return String((await list(`/v3/service_instances?names=${name}`))[0]?.guid);
};
const eventsOf = async (guid: unknown) => (await list(`/v3/audit_events?target_guids=${guid}`)).map(({ type }) => type);

test('a service that a user provides: bound at once, shown, described, and unbound', async () => {
  const refused = await cloud.call(
    'POST',
    '/v3/service_instances',
    provided('x', { route_service_url: 'http://guard.example.com' }),
  );
  assert.equal(refusal(refused), '422 Route service url must be https');
  const none = await cloud.call('POST', '/v3/service_instances', provided('x', { route_service_url: 'guard' }));
  assert.equal(refusal(none), '422 Route service url must be a valid URI');

  const instance = await made(
    '/v3/service_instances',
    provided('guard', { route_service_url: 'https://guard.example.com/in' }),
  );
  const plain = await made('/v3/service_instances', provided('plain'));
  const route = await makeRoute('web');
  assert.equal(refusal(await bind(route, plain)), '422 This service instance does not support route binding');
  assert.equal(
    refusal(await bind(route, instance, { parameters: { a: 1 } })),
    '422 Binding parameters are not supported for user-provided service instances',
  );
  assert.equal(refusal(await bind('none', instance)), '422 The route could not be found: none');
  assert.equal(refusal(await bind(route, 'none')), '422 The service instance could not be found: none');

  const answer = await bind(route, instance, { metadata: { labels: { kind: 'guard' } } });
  assert.equal(answer.status, 201, answer.text);
  const { guid } = answer.body;
  assert.equal(answer.body.route_service_url, 'https://guard.example.com/in');
  assert.deepEqual(answer.body.relationships, { service_instance: one(instance), route: one(route) });
  assert.equal((answer.body.last_operation as Json).state, 'succeeded');
  assert.equal((answer.body.links as Json).parameters, undefined);
  assert.equal(refusal(await bind(route, instance)), '422 The route and service instance are already bound.');
  const other = await made('/v3/service_instances', provided('other', { route_service_url: 'https://o.example.com' }));
  assert.equal(refusal(await bind(route, other)), '422 A route may only be bound to a single service instance');

  for (const [query, count] of [
    [`route_guids=${route}`, 1],
    ['route_guids=none', 0],
    [`service_instance_guids=${instance}`, 1],
    ['service_instance_names=guard', 1],
    ['service_instance_names=other', 0],
    ['label_selector=kind%3Dguard', 1],
  ] as const) {
    assert.equal((await list(`${PATH}?${query}`)).length, count, query);
  }
  const { included } = await cloud.json('GET', `${PATH}/${guid}?include=route,service_instance`);
  const names = ({ routes, service_instances: instances }: Record<string, Json[]>) => [
    routes?.[0]?.host,
    instances?.[0]?.name,
  ];
  assert.deepEqual(names(included as Record<string, Json[]>), ['web', 'guard']);
  assert.deepEqual(await list('/v3/service_credential_bindings'), [], 'it is none of credentials');
  assert.equal((await cloud.call('GET', `/v3/service_credential_bindings/${guid}`)).status, 404);
  assert.equal((await list(`/v3/routes?service_instance_guids=${instance}`)).length, 1);
  assert.match(refusal(await cloud.call('GET', `${PATH}/${guid}/parameters`)), /^400 This service does not support/);
  const changed = await cloud.json('PATCH', `${PATH}/${guid}`, { metadata: { annotations: { why: 'safety' } } });
  assert.deepEqual(changed.metadata, { labels: { kind: 'guard' }, annotations: { why: 'safety' } });

  const instancePath = `/v3/service_instances/${instance}`;
  await cloud.json('PATCH', instancePath, { route_service_url: 'https://new.example.com' });
  assert.equal((await cloud.json('GET', `${PATH}/${guid}`)).route_service_url, 'https://new.example.com');
  // Bound, it leads somewhere.
  const job = await cloud.call('DELETE', `/v3/spaces/${space}/routes?unmapped=true`);
  assert.equal((await cloud.finished(job)).state, 'COMPLETE');
  assert.equal((await list('/v3/routes?hosts=web')).length, 1);

  assert.equal((await cloud.call('DELETE', `${PATH}/${guid}`)).status, 204);
  assert.deepEqual(await list(PATH), []);
  assert.deepEqual((await eventsOf(guid)).sort(), [
    'audit.service_route_binding.create',
    'audit.service_route_binding.delete',
    'audit.service_route_binding.update',
  ]);
});

test('routes that are not of everybody’s HTTP, and other spaces, are refused', async () => {
  const instance = await made('/v3/service_instances', provided('any', { route_service_url: 'https://a.example.com' }));
  const internal = await made('/v3/domains', { name: 'in.internal', internal: true });
  const inside = await made('/v3/routes', { host: 'w', relationships: { space: one(space), domain: one(internal) } });
  assert.equal(refusal(await bind(inside, instance)), '422 Route services cannot be bound to internal routes');
  const [group] = (await cloud.call('GET', '/routing/v1/router_groups')).body as unknown as Json[];
  const tcp = await made('/v3/domains', { name: 'tcp.test', router_group: { guid: group?.guid } });
  const port = await made('/v3/routes', { port: 1024, relationships: { space: one(space), domain: one(tcp) } });
  assert.equal(refusal(await bind(port, instance)), '422 Route services cannot be bound to TCP routes');
  const organization = String(cloud.api.context.records.spaces.get(space)?.spec.organization);
  const next = await made('/v3/spaces', { name: 'next', relationships: { organization: one(organization) } });
  const theirs = await made('/v3/routes', { host: 'n', relationships: { space: one(next), domain: one(domain) } });
  assert.equal(refusal(await bind(theirs, instance)), '422 The service instance and the route are in different spaces');
});

test('a broker’s service: asked in a job, at once or later, and asked back', async () => {
  const instance = await managed('wall');
  const route = await makeRoute('shop', { path: '/cart' });
  const job = await cloud.finished(await bind(route, instance, { parameters: { level: 3 } }));
  assert.deepEqual([job.state, job.operation], ['COMPLETE', 'service_route_bindings.create'], JSON.stringify(job));
  const [asked] = broker.of('PUT', '/service_bindings/');
  assert.deepEqual(asked?.body.bind_resource, { route: 'shop.apps.test/cart' });
  assert.deepEqual(asked?.body.parameters, { level: 3 });
  assert.equal(asked?.body.app_guid, undefined);
  const [binding] = await list(PATH);
  assert.equal(binding?.route_service_url, 'https://guard.example.com/check');
  assert.deepEqual(await cloud.json('GET', `${PATH}/${binding?.guid}/parameters`), { level: 3 });

  broker.isAsynchronous = true;
  const going = await cloud.call('DELETE', `${PATH}/${binding?.guid}`);
  const operation = async (guid: unknown) => (await cloud.json('GET', `${PATH}/${guid}`)).last_operation as Json;
  await cloud.until('it is at it', async () => (await operation(binding?.guid)).description === 'it is at it');
  assert.equal(
    (await cloud.json('GET', `${PATH}/${binding?.guid}`)).route_service_url,
    'https://guard.example.com/check',
    'requests go through it until it is gone',
  );
  assert.match(
    refusal(await cloud.call('DELETE', `${PATH}/${binding?.guid}`)),
    /operation in progress for the service/,
  );
  assert.match(refusal(await bind(route, instance)), /already bound/);
  broker.finish();
  assert.equal((await cloud.finished(going)).state, 'COMPLETE');

  const later = await bind(route, instance);
  const [pending] = await list(PATH);
  await cloud.until('it is at it', async () => (await operation(pending?.guid)).description === 'it is at it');
  assert.equal((await cloud.json('GET', `${PATH}/${pending?.guid}`)).route_service_url, null);
  assert.match(
    refusal(await cloud.call('GET', `${PATH}/${pending?.guid}/parameters`)),
    /^404 Creation of route binding/,
  );
  broker.finish();
  assert.equal((await cloud.finished(later)).state, 'COMPLETE');
  assert.equal((await list(PATH))[0]?.route_service_url, 'https://guard.example.com/check');
  broker.isAsynchronous = false;
  await cloud.until('it is told', async () =>
    (await eventsOf(pending?.guid)).includes('audit.service_route_binding.create'),
  );
  assert.ok((await eventsOf(pending?.guid)).includes('audit.service_route_binding.start_create'));

  // With the route, its binding; the broker is told.
  assert.equal((await cloud.finished(await cloud.call('DELETE', `/v3/routes/${route}`))).state, 'COMPLETE');
  assert.deepEqual(await list(PATH), []);
  assert.equal(broker.bindings.size, 0);
});

test('what a broker says wrongly is no binding, and what it may have made is taken away', async () => {
  const instance = await managed('liar');
  const route = await makeRoute('liar');
  for (const [bound, why] of [
    [{ route_service_url: 'http://guard.example.com' }, /"route_service_url" must begin with https/],
    [{ route_service_url: 7 }, /"route_service_url" must be a URL/],
  ] as const) {
    broker.bound = bound;
    const job = await cloud.finished(await bind(route, instance));
    assert.equal(job.state, 'FAILED');
    assert.match(String((job.errors as Json[])[0]?.detail), why);
    await cloud.until('no orphan', () => broker.bindings.size === 0);
  }
  const [failed = {}] = await list(PATH);
  assert.equal((failed.last_operation as Json).state, 'failed');
  broker.bound = { route_service_url: 'https://guard.example.com/check' };
  assert.equal((await cloud.finished(await bind(route, instance))).state, 'COMPLETE', 'one that failed gives way');
  assert.equal((await list(PATH)).length, 1);
  const gone = await cloud.finished(await cloud.call('DELETE', `/v3/service_instances/${instance}`));
  assert.equal(gone.state, 'COMPLETE');
  assert.deepEqual(await list(PATH), [], 'with the instance');
});
