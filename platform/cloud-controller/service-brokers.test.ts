/** Services of brokers over the API, with a broker that answers at once, later, or wrongly. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { secrets } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';
import { catalogOf, PLAN, TestBroker } from '../services/broker.fixture.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';
import { Tenancy } from './tenancy.fixture.ts';

let cloud: TestCloud;
let broker: TestBroker;
let space: string;
let organization: string;
let app: string;

before(async () => {
  cloud = await startTestCloud();
  broker = await new TestBroker().listen();
  const [found] = (await cloud.json('GET', '/v3/spaces')).resources as Json[];
  space = String(found?.guid);
  organization = String(cloud.api.context.records.spaces.get(space)?.spec.organization);
  app = (await makeApp(cloud, 'shop', space)).app;
});
after(async () => {
  await cloud?.close();
  await broker?.[Symbol.asyncDispose]();
});

const one = (guid: unknown) => ({ data: { guid } });
const list = async (path: string) => (await cloud.json('GET', path)).resources as Json[];
const login = (password = broker.password) => ({
  type: 'basic',
  credentials: { username: broker.username, password },
});
const register = (name: string, rest: Json = {}) =>
  cloud.call('POST', '/v3/service_brokers', { name, url: broker.url, authentication: login(), ...rest });
const failure = (job: Json) => {
  assert.equal(job.state, 'FAILED', JSON.stringify(job));
  return String((job.errors as Json[])[0]?.detail);
};
const refusal = (answer: Answer) => {
  assert.ok(answer.status >= 400, answer.text);
  return String((answer.body.errors as Json[])[0]?.detail);
};
const planGuid = async (name = 'small') =>
  String((await list(`/v3/service_plans?names=${name}&service_broker_names=main`))[0]?.guid);
const provide = async (name: string, rest: Json = {}) =>
  cloud.call('POST', '/v3/service_instances', {
    type: 'managed',
    name,
    relationships: { space: one(space), service_plan: one(await planGuid()) },
    ...rest,
  });
const made = async (name: string, rest: Json = {}): Promise<string> => {
  const job = await cloud.finished(await provide(name, rest));
  assert.equal(job.state, 'COMPLETE', JSON.stringify(job));
  return String((await list(`/v3/service_instances?names=${name}`))[0]?.guid);
};
const bind = (instance: string, rest: Json = {}) =>
  cloud.call('POST', '/v3/service_credential_bindings', {
    type: 'app',
    relationships: { app: one(app), service_instance: one(instance) },
    ...rest,
  });
const instancePath = (guid: string) => `/v2/service_instances/${guid}`;

/** Everything written down anywhere that is no Secret. */
async function everything(): Promise<string> {
  const { records } = cloud.api.context;
  const all = [
    records.serviceBrokers,
    records.serviceOfferings,
    records.servicePlans,
    records.serviceInstances,
    records.serviceBindings,
    records.serviceOrphans,
    records.auditEvents,
  ].map((collection) => collection.all());
  return JSON.stringify([all, cloud.problems, cloud.lines]);
}

test('a broker is registered with its catalog, which is nobody else’s until an administrator says so', async () => {
  assert.match(
    failure(await cloud.finished(await register('wrong', { authentication: login('no') }))),
    /Authentication with the service broker failed/,
  );
  assert.equal(refusal(await register('wrong')), 'Name must be unique');
  broker.catalog = { services: [{ name: 'x', plans: 'none' }] };
  const [wrong] = await list('/v3/service_brokers?names=wrong');
  const path = `/v3/service_brokers/${String(wrong?.guid)}`;
  const invalid = failure(await cloud.finished(await cloud.call('PATCH', path, { authentication: login() })));
  assert.match(invalid, /^Service broker catalog is invalid: \n.*Service x\n.*Service id is required/s);
  assert.match(invalid, /Service "bindable" field is required/);
  assert.equal((await cloud.finished(await cloud.call('DELETE', path))).state, 'COMPLETE');
  assert.deepEqual(await list('/v3/service_brokers'), []);

  broker.catalog = catalogOf();
  const job = await cloud.finished(await register('main', { metadata: { labels: { kind: 'sql' } } }));
  assert.deepEqual([job.state, job.operation], ['COMPLETE', 'service_broker.catalog.synchronize']);
  const [offering] = await list('/v3/service_offerings?fields[service_broker]=name,guid');
  assert.equal(offering?.name, 'db');
  assert.equal(offering?.shareable, true);
  const developer = await new Tenancy(cloud).token('dev');
  const [user] = await list('/v3/users?usernames=dev');
  for (const [type, place] of [
    ['organization_user', { organization: one(organization) }],
    ['space_developer', { space: one(space) }],
  ] as const) {
    await cloud.json('POST', '/v3/roles', { type, relationships: { user: one(user?.guid), ...place } });
  }
  const seen = async (kind: string) =>
    ((await cloud.call('GET', `/v3/${kind}`, undefined, { token: developer })).body.resources as Json[]).length;
  assert.deepEqual(
    [await seen('service_offerings'), await seen('service_plans'), await seen('service_brokers')],
    [0, 0, 0],
  );
  assert.match(refusal(await provide('early')), /the plan is not enabled in this organization/);
  const visibility = `/v3/service_plans/${await planGuid()}/visibility`;
  await cloud.json('POST', visibility, { type: 'organization', organizations: [{ guid: organization }] });
  assert.deepEqual([await seen('service_offerings'), await seen('service_plans')], [1, 1]);
  assert.deepEqual((await cloud.json('GET', visibility)).organizations, [{ guid: organization, name: 'default' }]);
  assert.equal((await cloud.call('DELETE', `${visibility}/${organization}`)).status, 204);
  assert.equal(await seen('service_plans'), 0);
  await cloud.json('PATCH', visibility, { type: 'public' });
  assert.equal(await seen('service_plans'), 1);
  const refused = await cloud.call('PATCH', visibility, { type: 'admin' }, { token: developer });
  assert.equal(refused.status, 403, refused.text);
});

test('an instance is made, bound, told to the app, keyed, unbound and deleted', async () => {
  const parameters = { size: 3, password: 'secret-parameter' };
  const guid = await made('store', { parameters, tags: ['mine'] });
  const [put] = broker.of('PUT', guid);
  assert.deepEqual(put?.query, { accepts_incomplete: 'true' });
  assert.deepEqual(
    { ...put?.body, context: undefined },
    {
      service_id: 'db-id',
      plan_id: 'small-id',
      organization_guid: organization,
      space_guid: space,
      context: undefined,
      parameters,
    },
  );
  assert.deepEqual(put?.body.context, {
    platform: 'cloudfoundry',
    organization_guid: organization,
    space_guid: space,
    organization_name: 'default',
    space_name: 'dev',
    organization_annotations: {},
    space_annotations: {},
    instance_name: 'store',
    instance_annotations: {},
  });
  const [kind, identity = ''] = String(put?.headers['x-broker-api-originating-identity']).split(' ');
  assert.equal(kind, 'cloudfoundry');
  assert.deepEqual(Object.keys(JSON.parse(atob(identity)) as Json), ['user_id']);
  assert.match(String(put?.headers['x-broker-api-request-identity']), /^[0-9a-f-]{36}$/);
  const path = `/v3/service_instances/${guid}`;
  const shown = await cloud.json(
    'GET',
    `${path}?fields[service_plan]=name,guid&fields[service_plan.service_offering.service_broker]=name`,
  );
  const { type, state } = shown.last_operation as Json;
  assert.deepEqual([shown.type, type, state], ['managed', 'create', 'succeeded']);
  assert.equal(shown.dashboard_url, 'https://dashboard.example.com/db');
  assert.deepEqual((shown.included as Json).service_brokers, [{ name: 'main' }]);
  assert.deepEqual(await cloud.json('GET', `${path}/parameters`), parameters);

  const bound = await cloud.finished(await bind(guid, { parameters: { role: 'reader' } }));
  assert.equal(bound.state, 'COMPLETE', JSON.stringify(bound));
  const [binding] = await list(`/v3/service_credential_bindings?app_guids=${app}`);
  const bindingPath = `/v3/service_credential_bindings/${String(binding?.guid)}`;
  assert.deepEqual(broker.of('PUT', '/service_bindings/')[0]?.body.bind_resource, {
    app_guid: app,
    space_guid: space,
    app_annotations: {},
  });
  const { credentials } = broker.bound;
  assert.deepEqual((await cloud.json('GET', `${bindingPath}/details`)).credentials, credentials);
  assert.deepEqual(await cloud.json('GET', `${bindingPath}/parameters`), { role: 'reader' });
  const environment = await cloud.json('GET', `/v3/apps/${app}/env`);
  assert.deepEqual((environment.system_env_json as Json).VCAP_SERVICES, {
    db: [
      {
        label: 'db',
        provider: null,
        plan: 'small',
        name: 'store',
        tags: ['sql', 'mine'],
        instance_guid: guid,
        instance_name: 'store',
        binding_guid: binding?.guid,
        binding_name: null,
        credentials,
        syslog_drain_url: null,
        volume_mounts: [],
      },
    ],
  });
  const key = { type: 'key', name: 'mine', relationships: { service_instance: one(guid) } };
  const keyed = await cloud.finished(await cloud.call('POST', '/v3/service_credential_bindings', key));
  assert.equal(keyed.state, 'COMPLETE', JSON.stringify(keyed));
  assert.match(refusal(await cloud.call('POST', '/v3/service_credential_bindings', key)), /already has a key binding/);
  assert.match(refusal(await bind(guid)), /already bound/);
  assert.doesNotMatch(await everything(), /secret-parameter|bound-secret|very-secret-of-the-broker/);

  assert.equal((await cloud.finished(await cloud.call('DELETE', bindingPath))).state, 'COMPLETE');
  assert.equal((await cloud.finished(await cloud.call('DELETE', path))).state, 'COMPLETE');
  assert.deepEqual([broker.instances.size, broker.bindings.size], [0, 0], 'the key went with its instance');
  assert.deepEqual(await list('/v3/service_credential_bindings'), []);
  const { items } = await cloud.plane.client.list(secrets, { namespace: systemNamespace });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('parameters-')),
    [],
  );
  const events = await list('/v3/audit_events?per_page=500');
  for (const expected of [
    'service_instance.create',
    'service_binding.create',
    'service_key.delete',
    'service_instance.delete',
  ]) {
    assert.ok(
      events.some((event) => event.type === `audit.${expected}`),
      expected,
    );
  }
});

test('what takes its time is polled, shown, and not disturbed', async () => {
  broker.isAsynchronous = true;
  try {
    const answer = await provide('slow');
    const job = new URL(answer.headers.get('location') ?? '').pathname;
    await cloud.until('the broker to be at it', async () => (await cloud.json('GET', job)).state === 'POLLING');
    const [instance] = await list('/v3/service_instances?names=slow');
    const guid = String(instance?.guid);
    const path = `/v3/service_instances/${guid}`;
    await cloud.until('its words', async () => {
      const { state, description } = (await cloud.json('GET', path)).last_operation as Json;
      return state === 'in progress' && description === 'it is at it';
    });
    const [poll] = broker.of('GET', 'last_operation');
    assert.deepEqual(poll?.query, { service_id: 'db-id', plan_id: 'small-id', operation: 'op 1' });
    assert.equal(refusal(await bind(guid)), 'There is an operation in progress for the service instance.');
    const busy = await cloud.call('PATCH', path, { parameters: {} });
    assert.deepEqual([busy.status, refusal(busy)], [409, 'An operation for service instance slow is in progress.']);
    broker.finish();
    await cloud.until('the job', async () => (await cloud.json('GET', job)).state === 'COMPLETE');

    const binding = await bind(guid);
    await cloud.until('the binding', async () => broker.progress.size === 2);
    assert.deepEqual((await cloud.json('GET', `/v3/apps/${app}/env`)).system_env_json, { VCAP_SERVICES: {} });
    broker.finish();
    assert.equal((await cloud.finished(binding)).state, 'COMPLETE');
    const [bound] = await list(`/v3/service_credential_bindings?service_instance_guids=${guid}`);
    const details = await cloud.json('GET', `/v3/service_credential_bindings/${String(bound?.guid)}/details`);
    assert.deepEqual(details.credentials, broker.bound.credentials);

    const deleted = await cloud.call('DELETE', path);
    await cloud.until('the unbinding', async () => broker.of('DELETE', `${guid}/service_bindings/`).length > 0);
    broker.finish();
    await cloud.until('the deletion', async () => broker.of('DELETE').some((one) => one.path === instancePath(guid)));
    broker.finish();
    assert.equal((await cloud.finished(deleted)).state, 'COMPLETE');
    assert.deepEqual(await list('/v3/service_instances?names=slow'), []);
  } finally {
    broker.isAsynchronous = false;
  }
});

test('a failure is told in the broker’s words, and its name is free again', async () => {
  broker.behave = ({ method }) =>
    method === 'PUT' ? { status: 400, body: { description: 'no more of these' } } : undefined;
  const job = await cloud.finished(await provide('poor'));
  assert.equal(failure(job), 'create could not be completed: Service broker error: no more of these');
  const [instance] = await list('/v3/service_instances?names=poor');
  const { state, description } = (instance ?? {}).last_operation as Json;
  assert.deepEqual([state, description], ['failed', 'Service broker error: no more of these']);
  assert.deepEqual(cloud.api.context.records.serviceOrphans.all(), [], 'what was refused is not there');
  broker.behave = () => undefined;
  const guid = await made('poor');
  assert.notEqual(guid, instance?.guid);
  assert.equal((await cloud.finished(await cloud.call('DELETE', `/v3/service_instances/${guid}`))).state, 'COMPLETE');
});

test('what a broker may have made and did not say is deleted there until it is gone', async () => {
  let refused = 0;
  broker.behave = ({ method, path }) => {
    if (method === 'PUT' && !path.includes('bindings')) return { status: 500, body: { description: 'oops' } };
    if (method === 'DELETE' && refused++ < 2) return { status: 503 };
    return undefined;
  };
  assert.match(failure(await cloud.finished(await provide('lost'))), /Service broker error: oops/);
  const [instance] = await list('/v3/service_instances?names=lost');
  const path = instancePath(String(instance?.guid));
  broker.instances.set(path, {});
  await cloud.until('the orphan to be deleted', async () => !broker.instances.has(path));
  await cloud.until('nothing to be left', async () => cloud.api.context.records.serviceOrphans.all().length === 0);
  assert.ok(refused > 2);
  broker.behave = () => undefined;
  const deleted = await cloud.call('DELETE', `/v3/service_instances/${String(instance?.guid)}`);
  assert.equal((await cloud.finished(deleted)).state, 'COMPLETE', 'what is gone there may go here');
});

test('a platform that is stopped in the middle goes on where it was', async () => {
  broker.behave = ({ method }) => (method === 'PUT' ? 'hang' : undefined);
  const answer = await provide('sudden', { parameters: { a: 1 } });
  await cloud.until('the broker to be asked', async () => broker.of('PUT').some(({ body }) => isNamed(body, 'sudden')));
  await cloud.restart(async () => {
    broker.behave = () => undefined;
  });
  assert.equal((await cloud.finished(answer)).state, 'COMPLETE');
  const puts = broker.of('PUT').filter(({ body }) => isNamed(body, 'sudden'));
  assert.equal(puts.length, 2);
  assert.deepEqual(puts[0]?.body, puts[1]?.body, 'it is asked for the same');
  broker.isAsynchronous = true;
  const [instance] = await list('/v3/service_instances?names=sudden');
  const deleted = await cloud.call('DELETE', `/v3/service_instances/${String(instance?.guid)}`);
  await cloud.until('it to be at it', async () =>
    [...broker.progress.values()].some((one) => one.state === 'in progress'),
  );
  await cloud.restart(async () => {
    broker.finish();
    broker.isAsynchronous = false;
  });
  assert.equal((await cloud.finished(deleted)).state, 'COMPLETE');
});

function isNamed(body: Json, name: string): boolean {
  return (body.context as Json | undefined)?.instance_name === name;
}

test('a broker that hangs, floods, leads elsewhere or talks nonsense is a failure, and no more', async () => {
  const cases: [string, TestBroker['behave'], RegExp, boolean][] = [
    ['large', () => ({ status: 201, body: 'x'.repeat(10 * 1024 * 1024) }), /it is too large/, true],
    ['nonsense', () => ({ status: 200, body: '<html>' }), /expected valid JSON object in body/, false],
    ['created', () => ({ status: 201, body: '[]' }), /expected valid JSON object in body/, true],
    ['typed', () => ({ status: 201, body: { dashboard_url: 5 } }), /"dashboard_url" must be a string/, true],
    ['redirect', () => ({ status: 302, headers: { location: `${broker.url}/v2/catalog` } }), /Status Code: 302/, false],
    ['cut', () => 'cut', /could not be reached/, true],
    ['late', () => ({ status: 408 }), /timed out/, false],
  ];
  for (const [name, behave, words, isOrphan] of cases) {
    const before = broker.of('DELETE').length;
    broker.behave = (asked) => (asked.method === 'PUT' ? behave(asked) : undefined);
    const job = await cloud.finished(await provide(name));
    assert.match(failure(job), words, name);
    const [instance] = await list(`/v3/service_instances?names=${name}`);
    if (isOrphan) {
      await cloud.until(`${name} to be cleaned up`, async () => broker.of('DELETE').length > before);
      await cloud.until('no orphan', async () => cloud.api.context.records.serviceOrphans.all().length === 0);
    } else assert.equal(broker.of('DELETE').length, before, name);
    await cloud.finished(await cloud.call('DELETE', `/v3/service_instances/${String(instance?.guid)}`));
  }
  broker.behave = ({ method }) => (method === 'PUT' ? 'hang' : undefined);
  cloud.brokers.timeoutMilliseconds = 500;
  const job = await cloud.finished(await provide('hung'));
  delete cloud.brokers.timeoutMilliseconds;
  assert.equal(failure(job), 'create could not be completed: The request to the service broker timed out');
  broker.behave = () => undefined;
  await cloud.until('no orphan', async () => cloud.api.context.records.serviceOrphans.all().length === 0);
  const [hung] = await list('/v3/service_instances?names=hung');
  await cloud.finished(await cloud.call('DELETE', `/v3/service_instances/${String(hung?.guid)}`));
});

test('a broker at an address of the platform is not reached', async () => {
  const { guard } = cloud.brokers;
  const { addressGuard } = await import('#lib/guarded-address.ts');
  cloud.brokers.guard = addressGuard(() => [], []);
  try {
    assert.match(failure(await cloud.finished(await register('inside'))), /127\.0\.0\.1 may not be reached from here/);
    const host = await cloud.finished(await register('named', { url: broker.url.replace('127.0.0.1', 'localhost') }));
    assert.match(failure(host), /may not be reached from here/);
  } finally {
    cloud.brokers.guard = guard;
  }
  for (const name of ['inside', 'named']) {
    const [found] = await list(`/v3/service_brokers?names=${name}`);
    await cloud.finished(await cloud.call('DELETE', `/v3/service_brokers/${String(found?.guid)}`));
  }
});

test('plans, parameters and versions are changed; plans that vanish stay for who has them', async () => {
  const big = { ...PLAN, id: 'big-id', name: 'big', free: false };
  const upgraded = { ...PLAN, maintenance_info: { version: '2.0.0', description: 'new' } };
  broker.catalog = catalogOf({ allow_context_updates: true }, [
    { ...PLAN, maintenance_info: { version: '1.0.0' } },
    big,
  ]);
  const [main] = await list('/v3/service_brokers?names=main');
  const path = `/v3/service_brokers/${String(main?.guid)}`;
  const refresh = async () => cloud.finished(await cloud.call('PATCH', path, { url: broker.url }));
  assert.equal((await refresh()).state, 'COMPLETE');
  await cloud.json('PATCH', `/v3/service_plans/${await planGuid('big')}/visibility`, { type: 'public' });
  const guid = await made('grown');
  const instance = `/v3/service_instances/${guid}`;
  const change = async (body: Json) => cloud.finished(await cloud.call('PATCH', instance, body));
  assert.equal((await change({ parameters: { size: 9 } })).state, 'COMPLETE');
  assert.deepEqual(await cloud.json('GET', `${instance}/parameters`), { size: 9 });
  broker.catalog = catalogOf({ allow_context_updates: true }, [upgraded, big]);
  await refresh();
  assert.equal((await cloud.json('GET', instance)).upgrade_available, true);
  assert.equal((await change({ maintenance_info: { version: '2.0.0' } })).state, 'COMPLETE');
  const patched = broker.of('PATCH', guid).at(-1)?.body as Json;
  assert.deepEqual(patched.maintenance_info, { version: '2.0.0' });
  assert.deepEqual(patched.previous_values, {
    plan_id: 'small-id',
    service_id: 'db-id',
    organization_id: organization,
    space_id: space,
    maintenance_info: { version: '1.0.0' },
  });
  assert.equal((await cloud.json('GET', instance)).upgrade_available, false);
  broker.behave = ({ method }) => (method === 'PATCH' ? { status: 422, body: { description: 'not now' } } : undefined);
  const moved = { relationships: { service_plan: one(await planGuid('big')) }, name: 'moved' };
  assert.equal(failure(await change(moved)), 'update could not be completed: Service broker error: not now');
  assert.equal((await cloud.json('GET', instance)).name, 'grown', 'a failed update changes nothing');
  broker.behave = () => undefined;
  assert.equal((await change(moved)).state, 'COMPLETE');
  const now = await cloud.json('GET', instance);
  assert.deepEqual([now.name, (now.relationships as Json).service_plan], ['moved', one(await planGuid('big'))]);
  assert.equal((await cloud.json('PATCH', instance, { tags: ['x'] })).name, 'moved', 'tags are nobody else’s business');

  broker.catalog = catalogOf({}, [upgraded]);
  const job = await refresh();
  assert.match(String((job.warnings as Json[])[0]?.detail), /Service Offering: db\nPlans deactivated: big/);
  assert.match(
    refusal(await provide('none', { relationships: { space: one(space), service_plan: one(await planGuid('big')) } })),
    /Invalid service plan/,
  );
  assert.match(
    refusal(await cloud.call('DELETE', path)),
    /Can not remove brokers that have associated service instances: main/,
  );
  broker.behave = ({ method }) => (method === 'DELETE' ? { status: 500 } : undefined);
  assert.match(failure(await cloud.finished(await cloud.call('DELETE', instance))), /delete could not be completed/);
  assert.equal(((await cloud.json('GET', instance)).last_operation as Json).state, 'failed');
  assert.equal((await cloud.call('DELETE', `${instance}?purge=true`)).status, 204);
  broker.behave = () => undefined;
  await refresh();
  assert.deepEqual(await list('/v3/service_plans?names=big'), []);
});

test('an instance is shared with another space, whose apps are bound to it, and no more', async () => {
  const place = { relationships: { organization: one(organization) } };
  const other = String((await cloud.json('POST', '/v3/spaces', { name: 'beside', ...place })).guid);
  const guid = await made('common');
  const path = `/v3/service_instances/${guid}/relationships/shared_spaces`;
  const share = () => cloud.call('POST', path, { data: [{ guid: other }] });
  await cloud.json('PATCH', '/v3/feature_flags/service_instance_sharing', { enabled: false });
  assert.equal((await share()).status, 403);
  await cloud.json('PATCH', '/v3/feature_flags/service_instance_sharing', { enabled: true });
  assert.equal((await share()).status, 200);
  const shown = await cloud.json('GET', `${path}?fields[space]=name,guid&fields[space.organization]=name`);
  assert.deepEqual((shown.included as Json).spaces, [{ name: 'beside', guid: other }]);
  assert.equal((await list(`/v3/service_instances?space_guids=${other}`)).length, 1);
  const { app: guest } = await makeApp(cloud, 'guest', other);
  const bound = await bind(guid, { relationships: { app: one(guest), service_instance: one(guid) } });
  assert.equal((await cloud.finished(bound)).state, 'COMPLETE');
  const summary = await cloud.json('GET', `${path}/usage_summary`);
  assert.deepEqual(summary.usage_summary, [{ space: { guid: other }, bound_app_count: 1 }]);
  assert.match(
    refusal(await cloud.call('PATCH', `/v3/service_instances/${guid}`, { name: 'renamed' })),
    /have been shared cannot be renamed/,
  );
  assert.equal((await cloud.call('DELETE', `${path}/${other}`)).status, 204);
  assert.equal(broker.bindings.size, 0);
  assert.equal((await list(`/v3/service_instances?space_guids=${other}`)).length, 0);
  await cloud.finished(await cloud.call('DELETE', `/v3/service_instances/${guid}`));
});

test('quotas hold for instances and keys of brokers', async () => {
  const limits = { name: 'few', services: { total_service_instances: 1, total_service_keys: 0 } };
  const quota = await cloud.json('POST', '/v3/space_quotas', {
    ...limits,
    relationships: { organization: one(organization), spaces: { data: [{ guid: space }] } },
  });
  const guid = await made('only');
  assert.equal(refusal(await provide('more')), "You have exceeded your space's services limit.");
  const key = { type: 'key', name: 'k', relationships: { service_instance: one(guid) } };
  assert.match(
    refusal(await cloud.call('POST', '/v3/service_credential_bindings', key)),
    /limit for service binding of type key/,
  );
  await cloud.call('DELETE', `/v3/space_quotas/${String(quota.guid)}`);
  const event = await cloud.until('its usage', async () =>
    (await list('/v3/service_usage_events?service_instance_types=managed_service_instance')).find(
      (entry) => (entry.service_instance as Json).guid === guid,
    ),
  );
  assert.deepEqual(
    [event.state, (event.service_plan as Json).name, (event.service_broker as Json).name],
    ['CREATED', 'small', 'main'],
  );
});

test('a space and an app take what they have of brokers with them', async () => {
  const other = String(
    (await cloud.json('POST', '/v3/spaces', { name: 'gone', relationships: { organization: one(organization) } })).guid,
  );
  const { app: leaving } = await makeApp(cloud, 'leaving', other);
  const guid = await made('going', { relationships: { space: one(other), service_plan: one(await planGuid()) } });
  assert.equal(
    (await cloud.finished(await bind(guid, { relationships: { app: one(leaving), service_instance: one(guid) } })))
      .state,
    'COMPLETE',
  );
  assert.equal(broker.bindings.size, 1);
  await cloud.finished(await cloud.call('DELETE', `/v3/apps/${leaving}`));
  assert.equal(broker.bindings.size, 0);
  assert.ok(broker.instances.has(instancePath(guid)));
  assert.equal((await cloud.finished(await cloud.call('DELETE', `/v3/spaces/${other}`))).state, 'COMPLETE');
  assert.ok(!broker.instances.has(instancePath(guid)));
});
