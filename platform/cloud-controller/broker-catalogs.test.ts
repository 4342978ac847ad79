/** What the catalog of a broker says, and what comes of it: clients of dashboards, and what may be done with plans, instances and bindings. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { catalogOf, PLAN, TestBroker } from '../services/broker.fixture.ts';
import { Browser } from '../uaa/browser/browser.fixture.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let broker: TestBroker;
const REDIRECT = 'https://dashboard.example.com/back';
const CLIENT = { id: 'db-dashboard', secret: 'first secret', redirect_uri: REDIRECT };

before(async () => {
  cloud = await startTestCloud();
  broker = await new TestBroker().listen();
});
after(async () => {
  await cloud?.close();
  await broker?.[Symbol.asyncDispose]();
});

const list = async (path: string) => (await cloud.json('GET', path)).resources as Json[];
const register = async (name: string) =>
  cloud.finished(
    await cloud.call('POST', '/v3/service_brokers', {
      name,
      url: broker.url,
      authentication: { type: 'basic', credentials: { username: broker.username, password: broker.password } },
    }),
  );
const pathOf = async (name: string) =>
  `/v3/service_brokers/${(await list(`/v3/service_brokers?names=${name}`))[0]?.guid}`;
const refresh = async (name: string) =>
  cloud.finished(await cloud.call('PATCH', await pathOf(name), { url: broker.url }));
const remove = async (name: string) => cloud.finished(await cloud.call('DELETE', await pathOf(name)));
const detail = (job: Json) => String((job.errors as Json[])[0]?.detail);
const eventsOf = async (type: string) => (await list(`/v3/audit_events?types=${type}`)).length;

async function uaa(method: string, path: string, body?: Json) {
  const token = String((await cloud.login('admin', cloud.password)).body.access_token);
  const response = await fetch(`${cloud.uaaUrl}${path}`, {
    method,
    headers: { authorization: `bearer ${token}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, body: (await response.json()) as Json };
}

/** As a dashboard asks for a token with the code that a browser brings. */
async function redeem(secret: string, code: string, redirect = REDIRECT) {
  const response = await fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${CLIENT.id}:${secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirect }),
  });
  return { status: response.status, body: (await response.json()) as Json };
}

async function codeOf(browser: Browser, redirect = REDIRECT): Promise<string> {
  const query = new URLSearchParams({
    client_id: CLIENT.id,
    redirect_uri: redirect,
    response_type: 'code',
    state: 's',
  });
  let page = await browser.go(`/oauth/authorize?${query}`);
  if (page.location.includes('/login')) {
    const entered = await browser.send(await browser.go(page.location), '/login.do', {
      username: 'admin',
      password: cloud.password,
    });
    page = await browser.go(entered.location);
  }
  if (page.status === 200) page = await browser.send(page, '/oauth/authorize', { user_oauth_approval: 'true' });
  assert.ok(page.location.startsWith(redirect), `${page.status} ${page.location} ${page.text.slice(0, 300)}`);
  return new URL(page.location).searchParams.get('code') ?? '';
}

test('a dashboard’s client is there with its broker: users log in, and it is told what they may do, and no more', async () => {
  broker.catalog = catalogOf({ dashboard_client: CLIENT });
  assert.equal((await register('main')).state, 'COMPLETE');
  const { body: client } = await uaa('GET', `/oauth/clients/${CLIENT.id}`);
  assert.deepEqual(client.authorized_grant_types, ['authorization_code']);
  assert.deepEqual(client.scope, ['openid', 'cloud_controller_service_permissions.read']);
  assert.deepEqual([client.redirect_uri, client.autoapprove], [[REDIRECT], false]);
  assert.equal(await eventsOf('audit.service_dashboard_client.create'), 1);

  const browser = new Browser(cloud.uaaUrl);
  assert.equal((await redeem('another secret', await codeOf(browser))).status, 401);
  const { status, body } = await redeem(CLIENT.secret, await codeOf(browser));
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.scope, 'openid cloud_controller_service_permissions.read');
  const token = String(body.access_token);
  const [space] = await list('/v3/spaces');
  const instance = await cloud.json('POST', '/v3/service_instances', {
    type: 'user-provided',
    name: 'mine',
    relationships: { space: { data: { guid: space?.guid } } },
  });
  const path = `/v3/service_instances/${instance.guid}`;
  const [user] = await list('/v3/users?usernames=admin');
  const place = { space: one(space?.guid) };
  const organization = cloud.api.context.records.spaces.get(String(space?.guid))?.spec.organization;
  for (const [type, where] of [
    ['organization_user', { organization: one(organization) }],
    ['space_developer', place],
  ] as const) {
    await cloud.json('POST', '/v3/roles', { type, relationships: { user: one(user?.guid), ...where } });
  }
  const permissions = await cloud.call('GET', `${path}/permissions`, undefined, { token });
  assert.equal(permissions.status, 200, permissions.text);
  for (const [method, other] of [
    ['GET', path],
    ['GET', `${path}/credentials`],
    ['GET', '/v3/apps'],
    ['DELETE', path],
  ] as const) {
    assert.equal((await cloud.call(method, other, undefined, { token })).status, 403, `${method} ${other}`);
  }
});

test('it changes with the catalog, and goes with it', async () => {
  const moved = { ...CLIENT, secret: 'second secret', redirect_uri: 'https://new.example.com/back' };
  broker.catalog = catalogOf({ dashboard_client: moved });
  assert.equal((await refresh('main')).state, 'COMPLETE');
  const browser = new Browser(cloud.uaaUrl);
  const old = await redeem(CLIENT.secret, await codeOf(browser, moved.redirect_uri), moved.redirect_uri);
  assert.equal(old.status, 401);
  const now = await redeem(moved.secret, await codeOf(browser, moved.redirect_uri), moved.redirect_uri);
  assert.equal(now.status, 200);
  // An administrator's change of it does not make it anybody else's.
  assert.equal((await uaa('PUT', `/oauth/clients/${CLIENT.id}`, { name: 'A dashboard' })).status, 200);
  broker.catalog = catalogOf();
  assert.equal((await refresh('main')).state, 'COMPLETE');
  assert.equal((await uaa('GET', `/oauth/clients/${CLIENT.id}`)).status, 404);
  assert.equal(await eventsOf('audit.service_dashboard_client.delete'), 1);
  broker.catalog = catalogOf({ dashboard_client: CLIENT });
  assert.equal((await refresh('main')).state, 'COMPLETE');
});

test('an id that somebody has is refused, and nothing of such a catalog is taken', async () => {
  const words = 'Service broker catalog is invalid: \nService db\n  Service dashboard client id must be unique\n';
  assert.equal(detail(await register('second')), words, 'another broker has it');
  await uaa('POST', '/oauth/clients', {
    client_id: 'ours',
    client_secret: 'x',
    authorized_grant_types: ['client_credentials'],
  });
  for (const id of ['ours', 'cf']) {
    broker.catalog = catalogOf({ dashboard_client: { ...CLIENT, id } });
    assert.equal(detail(await refresh('second')), words, id);
  }
  assert.equal((await uaa('GET', '/oauth/clients/ours')).status, 200);
  assert.equal((await list('/v3/service_offerings')).length, 1, 'of the first broker alone');
  for (const [client, why] of [
    [{ ...CLIENT, id: 'a b' }, /Service dashboard client id must be 1 to 255 printable ASCII characters/],
    [{ ...CLIENT, redirect_uri: 'javascript:alert(1)' }, /redirect_uri must be an absolute URL/],
  ] as const) {
    broker.catalog = catalogOf({ dashboard_client: client });
    assert.match(detail(await refresh('second')), why);
  }
  broker.catalog = catalogOf({ dashboard_client: { ...CLIENT, id: 'other' } });
  assert.equal((await refresh('second')).state, 'COMPLETE');
  assert.equal((await remove('second')).state, 'COMPLETE');
  assert.equal((await uaa('GET', '/oauth/clients/other')).status, 404);
  assert.equal((await uaa('GET', `/oauth/clients/${CLIENT.id}`)).status, 200, 'the first broker’s stays');
});

const refusal = (answer: Answer) => `${answer.status} ${String((answer.body.errors as Json[])[0]?.detail)}`;
const one = (guid: unknown) => ({ data: { guid } });

/** The first broker with another catalog, whose plans are everybody's. */
async function offer(change: Json, plans: Json[] = [PLAN]): Promise<void> {
  broker.catalog = catalogOf(change, plans);
  assert.equal((await refresh('main')).state, 'COMPLETE');
  for (const { guid } of await list('/v3/service_plans')) {
    await cloud.json('PATCH', `/v3/service_plans/${String(guid)}/visibility`, { type: 'public' });
  }
}

const planOf = async (name: string) => (await list(`/v3/service_plans?names=${name}`))[0]?.guid;
const provide = async (name: string, plan = 'small') =>
  cloud.call('POST', '/v3/service_instances', {
    type: 'managed',
    name,
    relationships: { space: one((await list('/v3/spaces'))[0]?.guid), service_plan: one(await planOf(plan)) },
  });
const instanceOf = async (name: string) => (await list(`/v3/service_instances?names=${name}`))[0] ?? {};
const made = async (name: string, plan?: string): Promise<string> => {
  const job = await cloud.finished(await provide(name, plan));
  assert.equal(job.state, 'COMPLETE', JSON.stringify(job));
  return `/v3/service_instances/${String((await instanceOf(name)).guid)}`;
};
const away = async (path: string) => {
  const job = await cloud.finished(await cloud.call('DELETE', path));
  assert.equal(job.state, 'COMPLETE', JSON.stringify(job));
};

test('plans are changed where the plan says so, else the service', async () => {
  const big = { ...PLAN, id: 'big-id', name: 'big' };
  await offer({ plan_updateable: true }, [{ ...PLAN, plan_updateable: false }, big]);
  const path = await made('moving');
  const move = async (to: string) =>
    cloud.call('PATCH', path, { relationships: { service_plan: one(await planOf(to)) } });
  assert.equal(refusal(await move('big')), '422 The service does not support changing plans.');
  await offer({ plan_updateable: false }, [{ ...PLAN, plan_updateable: true }, big]);
  assert.equal((await cloud.finished(await move('big'))).state, 'COMPLETE');
  assert.equal(refusal(await move('small')), '422 The service does not support changing plans.');
  assert.equal(broker.of('PATCH').length, 1);
  await away(path);
});

test('a new name is told to brokers that want to know, and to no others', async () => {
  await offer({ allow_context_updates: false });
  const path = await made('before');
  const asked = broker.of('PATCH').length;
  const quiet = await cloud.call('PATCH', path, { name: 'between' });
  assert.deepEqual([quiet.status, quiet.body.name, broker.of('PATCH').length], [200, 'between', asked]);
  await offer({ allow_context_updates: true });
  assert.equal((await cloud.finished(await cloud.call('PATCH', path, { name: 'after' }))).state, 'COMPLETE');
  const { context, parameters } = broker.of('PATCH').at(-1)?.body ?? {};
  assert.deepEqual([(context as Json).instance_name, parameters], ['after', undefined]);
  assert.equal((await cloud.json('GET', path)).name, 'after');
  await away(path);
});

test('a version that the broker does not have is a conflict in its words, and changes nothing', async () => {
  const version = (number: string) => [{ ...PLAN, maintenance_info: { version: number } }];
  await offer({}, version('1.0.0'));
  const path = await made('versioned');
  assert.deepEqual(broker.of('PUT').at(-1)?.body.maintenance_info, { version: '1.0.0' });
  await offer({}, version('2.0.0'));
  const body = { error: 'MaintenanceInfoConflict', description: 'the catalog has changed' };
  broker.behave = ({ method }) => (method === 'PATCH' ? { status: 422, body } : undefined);
  const upgrade = async (number: string) => cloud.call('PATCH', path, { maintenance_info: { version: number } });
  assert.match(refusal(await upgrade('3.0.0')), /^422 maintenance_info.version requested is invalid/);
  const job = await cloud.finished(await upgrade('2.0.0'));
  assert.equal(detail(job), 'update could not be completed: Service broker error: the catalog has changed');
  broker.behave = () => undefined;
  const now = await cloud.json('GET', path);
  assert.deepEqual([now.maintenance_info, now.upgrade_available], [{ version: '1.0.0' }, true]);
  assert.equal((await cloud.finished(await upgrade('2.0.0'))).state, 'COMPLETE');
  await away(path);
});

test('a broker is asked again when it says, and given up when its plan says', async () => {
  broker.isAsynchronous = true;
  broker.retryAfter = '3600';
  try {
    await offer({}, [{ ...PLAN, maximum_polling_duration: 86_400 }]);
    const patient = await provide('patient');
    const operation = () =>
      cloud.api.context.records.serviceInstances.all().find(({ spec }) => spec.displayName === 'patient')?.status
        ?.operation;
    await cloud.until('it was asked', () => operation()?.description === 'it is at it');
    const { pollAt = '', until = '', updatedAt = '' } = operation() ?? {};
    assert.equal(Math.round((Date.parse(pollAt) - Date.parse(updatedAt)) / 60_000), 60);
    assert.equal(Math.round((Date.parse(until) - Date.parse(updatedAt)) / 3_600_000), 24);
    assert.equal(broker.of('GET', 'last_operation').length, 1);
    assert.ok(patient.headers.get('location'));
    // What is being made may be taken away; the broker has something by now.
    const before = broker.of('DELETE').length;
    broker.retryAfter = undefined;
    const going = await cloud.call('DELETE', `/v3/service_instances/${String((await instanceOf('patient')).guid)}`);
    await cloud.until('the deletion', () => broker.of('DELETE').length > before);
    broker.finish();
    assert.equal((await cloud.finished(going)).state, 'COMPLETE');

    await offer({}, [{ ...PLAN, maximum_polling_duration: 1 }]);
    const job = await cloud.finished(await provide('endless'));
    assert.match(detail(job), /Service Broker failed to create within the required time/);
    await cloud.until('what it may have made', async () => {
      broker.finish();
      return broker.instances.size === 0 && cloud.api.context.records.serviceOrphans.all().length === 0;
    });
  } finally {
    broker.isAsynchronous = false;
    broker.retryAfter = undefined;
  }
  await away(`/v3/service_instances/${String((await instanceOf('endless')).guid)}`);
});

test('what cannot be fetched is not asked for, and a binding that cannot be is none', async () => {
  const [space] = await list('/v3/spaces');
  const { app } = await makeApp(cloud, 'bound', String(space?.guid));
  const bind = async (instance: string) =>
    cloud.call('POST', '/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: one(app), service_instance: one(instance.split('/').at(-1)) },
    });
  await offer({ instances_retrievable: false, bindings_retrievable: false });
  const fetched = () => broker.of('GET').filter((asked) => !/catalog|last_operation/.test(asked.path)).length;
  const before = fetched();
  const path = await made('closed');
  assert.match(refusal(await cloud.call('GET', `${path}/parameters`)), /^400 This service does not support fetching/);
  assert.equal(fetched(), before);
  broker.isAsynchronous = true;
  const job = await cloud.finished(await bind(path)).finally(() => {
    broker.isAsynchronous = false;
  });
  assert.match(detail(job), /responded asynchronously but does not support fetching binding data/);
  await cloud.until('what it may have made', () => {
    broker.finish();
    return broker.bindings.size === 0;
  });

  assert.equal((await cloud.finished(await bind(path))).state, 'COMPLETE', 'at once it may be');
  const [binding] = await list('/v3/service_credential_bindings');
  const bindingPath = `/v3/service_credential_bindings/${String(binding?.guid)}`;
  assert.match(refusal(await cloud.call('GET', `${bindingPath}/parameters`)), /^400 This service does not support/);
  await away(bindingPath);

  for (const [bound, why] of [
    [{ syslog_drain_url: 'syslog://logs.example.com:514' }, /not registered as a logging service/],
    [{ volume_mounts: [{ driver: 'nfs' }] }, /volume mount services is disabled/],
  ] as const) {
    broker.bound = bound;
    assert.match(detail(await cloud.finished(await bind(path))), why);
    await cloud.until('no orphan', () => broker.bindings.size === 0);
  }
  await offer({ requires: ['syslog_drain'] });
  broker.bound = { credentials: { user: 'u' }, syslog_drain_url: 'syslog://logs.example.com:514' };
  assert.equal((await cloud.finished(await bind(path))).state, 'COMPLETE');
  const [drained] = await list('/v3/service_credential_bindings');
  const details = await cloud.json('GET', `/v3/service_credential_bindings/${String(drained?.guid)}/details`);
  assert.deepEqual(details, {
    credentials: { user: 'u' },
    syslog_drain_url: 'syslog://logs.example.com:514',
    volume_mounts: [],
  });
  await away(path);
});
