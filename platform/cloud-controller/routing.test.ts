/** TCP domains and their ports, destinations with ports, protocols and weights, and options of routes, as Cloud Foundry has them. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';

const PORTS = [1024, 1025, 1027];

let cloud: TestCloud;
let space: string;
let organization: string;
let domain: string;
let tcpDomain: string;
let apps: string[];

const one = (guid: string) => ({ data: { guid } });
const firstDetail = ({ body }: Answer): string => String((body.errors as Json[])[0]?.detail);
const first = async (path: string): Promise<string> =>
  String(((await cloud.json('GET', path)).resources as Json[])[0]?.guid);

before(async () => {
  cloud = await startTestCloud({ tcpPorts: PORTS });
  space = await first('/v3/spaces');
  organization = await first('/v3/organizations');
  domain = await first('/v3/domains?names=apps.test');
  apps = [];
  for (const name of ['one', 'two']) {
    const app = await cloud.json('POST', '/v3/apps', { name, relationships: { space: one(space) } });
    apps.push(String(app.guid));
  }
});
after(() => cloud?.close());

function newRoute(more: Json, on: string = tcpDomain): Promise<Answer> {
  return cloud.call('POST', '/v3/routes', { ...more, relationships: { space: one(space), domain: one(on) } });
}

test('router groups: the one that there is, for administrators', async () => {
  const groups = async (query = '', options = {}): Promise<Answer> =>
    cloud.call('GET', `/routing/v1/router_groups${query}`, undefined, options);
  const { body } = await groups();
  const [group] = body as unknown as Json[];
  assert.deepEqual(group, {
    guid: group?.guid,
    name: 'default-tcp',
    type: 'tcp',
    reservable_ports: '1024-1025,1027',
  });
  assert.deepEqual((await groups('?name=default-tcp')).body, [group]);
  assert.deepEqual((await groups(`/${String(group?.guid)}`)).body, group);
  const missing = await groups('?name=other');
  assert.deepEqual([missing.status, missing.body.name], [404, 'ResourceNotFoundError']);
  await putUser(cloud.plane.client, { username: 'dev', password: 'secret' });
  const token = String((await cloud.login('dev', 'secret')).body.access_token);
  assert.equal((await groups('', { token })).status, 403);
  const root = await cloud.json('GET', '/');
  assert.deepEqual((root.links as Json).routing, { href: `${cloud.api.context.urls.api}/routing` });
});

test('TCP domains are of a router group, and everybody’s', async () => {
  const [group] = (await cloud.call('GET', '/routing/v1/router_groups')).body as unknown as Json[];
  const make = (more: Json): Promise<Answer> =>
    cloud.call('POST', '/v3/domains', { name: 'tcp.apps.test', router_group: { guid: group?.guid }, ...more });
  assert.equal(
    firstDetail(await make({ router_group: { guid: 'nobody' } })),
    "Router group with guid 'nobody' not found.",
  );
  assert.match(
    firstDetail(await make({ name: 'tcp.internal', internal: true })),
    /^Internal domains cannot be associated/,
  );
  assert.equal(
    firstDetail(await make({ relationships: { organization: one(organization) } })),
    'Domains scoped to an organization cannot be associated to a router group.',
  );
  const { status, body } = await make({});
  assert.equal(status, 201);
  tcpDomain = String(body.guid);
  assert.deepEqual([body.router_group, body.supported_protocols], [{ guid: group?.guid }, ['tcp']]);
  assert.match(firstDetail(await make({})), /already in use/);
});

test('TCP routes have ports, any or a free one, and each port once', async () => {
  assert.match(firstDetail(await newRoute({ host: 'h' })), /do not support paths or hosts/);
  assert.match(firstDetail(await newRoute({ port: 1026 })), /^Port '1026' is not available/);
  assert.match(firstDetail(await newRoute({ host: 'h', port: 1024 }, domain)), /'http' do not support ports/);
  const chosen = await newRoute({ port: 1025 });
  assert.equal(chosen.status, 201);
  const { protocol, host, path, port, url } = chosen.body;
  assert.deepEqual(
    { protocol, host, path, port, url },
    {
      protocol: 'tcp',
      host: '',
      path: '',
      port: 1025,
      url: 'tcp.apps.test:1025',
    },
  );
  assert.equal(
    firstDetail(await newRoute({ port: 1025 })),
    "Route already exists with port '1025' for domain 'tcp.apps.test'.",
  );
  const asks = `/v3/domains/${tcpDomain}/route_reservations?port=`;
  assert.equal((await cloud.json('GET', `${asks}1025`)).matching_route, true);
  assert.equal((await cloud.json('GET', `${asks}1027`)).matching_route, false);

  // A port is the router's: another domain of the same group does not have it again.
  const group =
    (chosen.body.relationships as Json) && (await cloud.json('GET', `/v3/domains/${tcpDomain}`)).router_group;
  const other = await cloud.json('POST', '/v3/domains', { name: 'more.test', router_group: group });
  assert.match(firstDetail(await newRoute({ port: 1025 }, String(other.guid))), /^Port '1025' is not available/);

  const any = await Promise.all([newRoute({}), newRoute({}, String(other.guid))]);
  assert.deepEqual(
    any.map(({ status }) => status),
    [201, 201],
  );
  assert.deepEqual(any.map(({ body }) => body.port).toSorted(), [1024, 1027]);
  assert.match(firstDetail(await newRoute({})), /^There are no more ports available for router group: default-tcp\./);
  for (const { body } of any) await cloud.finished(await cloud.call('DELETE', `/v3/routes/${String(body.guid)}`));
  assert.equal((await cloud.json('GET', '/v3/routes?ports=1025')).resources instanceof Array, true);
});

test('reserved ports are held to quotas of organization and space', async () => {
  const quota = await cloud.json('POST', '/v3/space_quotas', {
    name: 'one port',
    routes: { total_reserved_ports: 1 },
    relationships: { organization: one(organization), spaces: { data: [{ guid: space }] } },
  });
  assert.match(firstDetail(await newRoute({})), /^Reserved route ports quota exceeded for space 'dev'\.$/);
  assert.equal((await newRoute({ host: 'free' }, domain)).status, 201);
  await cloud.finished(await cloud.call('DELETE', `/v3/space_quotas/${String(quota.guid)}`));
  const all = (await cloud.json('GET', '/v3/organization_quotas')).resources as Json[];
  const path = `/v3/organization_quotas/${String(all[0]?.guid)}`;
  await cloud.json('PATCH', path, { routes: { total_reserved_ports: 1 } });
  assert.match(firstDetail(await newRoute({})), /^Reserved route ports quota exceeded for organization 'default'\.$/);
  await cloud.json('PATCH', path, { routes: { total_reserved_ports: null } });
});

test('destinations: ports, protocols that fit the route, weights for all or none', async () => {
  const route = async (more: Json, on: string): Promise<string> => String((await newRoute(more, on)).body.guid);
  const http = await route({ host: 'weighted' }, domain);
  const tcp = await route({ port: 1024 }, tcpDomain);
  const to = (index: number, more: Json = {}): Json => ({ app: { guid: apps[index] }, ...more });
  const send = (guid: string, method: string, ...destinations: Json[]): Promise<Answer> =>
    cloud.call(method, `/v3/routes/${guid}/destinations`, { destinations });
  const shown = ({ body }: Answer): unknown[] =>
    (body.destinations as Json[]).map(({ port, protocol, weight }) => [port, protocol, weight]);

  assert.deepEqual(shown(await send(tcp, 'POST', to(0, { port: 5432 }))), [[5432, 'tcp', null]]);
  assert.equal(
    firstDetail(await send(tcp, 'POST', to(1, { protocol: 'http2' }))),
    "Cannot use 'http2' protocol for tcp routes; valid options are: [tcp].",
  );
  assert.equal(
    firstDetail(await send(http, 'POST', to(1, { protocol: 'tcp' }))),
    "Cannot use 'tcp' protocol for http routes; valid options are: [http1, http2].",
  );
  assert.match(
    firstDetail(await send(http, 'POST', to(0, { port: 80 }))),
    /port must be a positive integer between 1024/,
  );
  assert.match(firstDetail(await send(http, 'POST')), /containing between 1 and 100/);

  // One app at several ports, and by several protocols.
  const several = await send(http, 'POST', to(0), to(0, { port: 9000, protocol: 'http2' }));
  assert.deepEqual(shown(several), [
    [8080, 'http1', null],
    [9000, 'http2', null],
  ]);
  assert.match(firstDetail(await send(http, 'PATCH', to(0), to(0))), /cannot contain duplicate entries/);

  assert.match(firstDetail(await send(http, 'POST', to(1, { weight: 10 }))), /only be used when replacing all/);
  assert.match(firstDetail(await send(http, 'PATCH', to(0, { weight: 0 }))), /between 1 and 100/);
  assert.match(firstDetail(await send(http, 'PATCH', to(0, { weight: 50 }), to(1))), /both weighted and unweighted/);
  assert.match(firstDetail(await send(http, 'PATCH', to(0, { weight: 50 }), to(1, { weight: 49 }))), /sum to 100/);
  const weighted = await send(http, 'PATCH', to(0, { weight: 90 }), to(1, { weight: 10 }));
  assert.deepEqual(shown(weighted), [
    [8080, 'http1', 90],
    [8080, 'http1', 10],
  ]);
  const guids = (answer: Answer): unknown[] => (answer.body.destinations as Json[]).map(({ guid }) => guid);
  assert.equal(guids(weighted)[0], guids(several)[0], 'what stays keeps its guid');
  assert.match(
    firstDetail(await send(http, 'POST', to(0, { port: 9001 }))),
    /cannot be inserted when there are weighted/,
  );
  const gone = await cloud.call('DELETE', `/v3/routes/${http}/destinations/${String(guids(weighted)[1])}`);
  assert.equal(firstDetail(gone), 'Weighted destinations cannot be deleted individually.');
  assert.deepEqual(shown(await send(http, 'PATCH', to(1))), [[8080, 'http1', null]]);
  assert.deepEqual(shown(await send(http, 'PATCH')), []);
});

test('options of routes: whom the router gives the next request', async () => {
  const least = { loadbalancing: 'least-connection' };
  const made = await newRoute({ host: 'balanced', options: least }, domain);
  assert.deepEqual([made.status, made.body.options], [201, least]);
  const path = `/v3/routes/${String(made.body.guid)}`;
  const change = async (options: Json): Promise<unknown> => (await cloud.json('PATCH', path, { options })).options;
  assert.deepEqual(await change({ loadbalancing: 'round-robin' }), { loadbalancing: 'round-robin' });
  assert.deepEqual(await change({}), { loadbalancing: 'round-robin' });
  assert.deepEqual(await change({ loadbalancing: null }), {});
  const refused = async (options: unknown): Promise<string> =>
    firstDetail(await cloud.call('PATCH', path, { options }));
  assert.match(await refused({ loadbalancing: 'dice' }), /must be one of 'round-robin, least-connection, hash'/);
  assert.match(await refused({ sticky: true }), /Unknown field\(s\): 'sticky'/);
});

test('options of routes: by a header, and how much one instance may have', async () => {
  const hash = { loadbalancing: 'hash', hash_header: 'tenant-id', hash_balance: '1.25' };
  const made = await newRoute({ host: 'hashed', options: { ...hash, hash_balance: 1.25 } }, domain);
  assert.deepEqual([made.status, made.body.options], [201, hash], 'a text, as clients take no other');
  const path = `/v3/routes/${String(made.body.guid)}`;
  const change = async (options: Json): Promise<unknown> => (await cloud.json('PATCH', path, { options })).options;
  assert.deepEqual(await change({ hash_balance: '2' }), { ...hash, hash_balance: '2' });
  assert.deepEqual(await change({ hash_balance: null }), { loadbalancing: 'hash', hash_header: 'tenant-id' });
  const refused = async (options: unknown): Promise<string> =>
    firstDetail(await cloud.call('PATCH', path, { options }));
  assert.match(await refused({ hash_header: null }), /Hash header must be present when loadbalancing is set to hash/);
  assert.match(await refused({ hash_header: 'a b' }), /Hash header must be the name of a header/);
  assert.match(await refused({ hash_balance: 'much' }), /Hash balance must be a valid number/);
  assert.match(await refused({ hash_balance: -1 }), /Hash balance must be greater than or equal to 0\.0/);
  const other = { loadbalancing: 'round-robin', hash_balance: 2 };
  assert.match(await refused(other), /Hash balance can only be set when loadbalancing is hash/);
  assert.deepEqual(await change({ loadbalancing: 'round-robin' }), { loadbalancing: 'round-robin' });
  assert.match(await refused({ hash_header: 'x' }), /Hash header can only be set when loadbalancing is hash/);
  await cloud.json('PATCH', '/v3/feature_flags/hash_based_routing', { enabled: false });
  assert.match(await refused(hash), /must be one of 'round-robin, least-connection' if present/);
  await cloud.json('PATCH', '/v3/feature_flags/hash_based_routing', { enabled: true });
});

test('manifests: routes with ports, protocols and options', async () => {
  const apply = async (...routes: Json[]): Promise<Answer> => {
    const answer = await cloud.call(
      'POST',
      `/v3/spaces/${space}/actions/apply_manifest`,
      JSON.stringify({ applications: [{ name: 'two', routes }] }),
      { headers: { 'content-type': 'application/x-yaml' } },
    );
    if (answer.status === 202) assert.equal((await cloud.finished(answer)).state, 'COMPLETE');
    return answer;
  };
  const ofApp = async (): Promise<Json[]> =>
    (await cloud.json('GET', `/v3/apps/${apps[1]}/routes?order_by=created_at`)).resources as Json[];
  const options = { loadbalancing: 'least-connection' };
  await apply({ route: 'both.apps.test/v1', protocol: 'http2', options }, { route: 'tcp.apps.test:1027' });
  const [http, tcp] = await ofApp();
  assert.deepEqual([http?.url, http?.options], ['both.apps.test/v1', options]);
  const protocols = [http, tcp].map((route) => (route?.destinations as Json[] | undefined)?.[0]?.protocol);
  assert.deepEqual([tcp?.url, protocols], ['tcp.apps.test:1027', ['http2', 'tcp']]);
  // Again, and without a port: what is there is meant.
  await apply({ route: 'both.apps.test/v1' }, { route: 'tcp://tcp.apps.test' });
  assert.deepEqual(
    (await ofApp()).map(({ guid }) => guid),
    [http?.guid, tcp?.guid],
  );
  const text = (await cloud.call('GET', `/v3/apps/${apps[1]}/manifest`)).text;
  assert.match(text, /route: "?tcp\.apps\.test:1027"?\s+protocol: tcp/);
  assert.match(text, /protocol: http2\s+options:\s+loadbalancing: least-connection/);
  assert.match(firstDetail(await apply({ route: 'a.apps.test', protocol: 'udp' })), /'http1', 'http2' or 'tcp'/);
  const lacking = { route: 'a.apps.test', options: { loadbalancing: 'hash' } };
  assert.match(firstDetail(await apply(lacking)), /Route 'a\.apps\.test': .*Hash header must be present/);
});
