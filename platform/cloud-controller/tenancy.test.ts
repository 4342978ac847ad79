/**
 * Every endpoint of the route table, asked by everybody: nobody, a stranger, a neighbour who rules another organization, each
 * role of the organization and space that it is about, and an administrator. The golden file says how each is answered.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { matchesGolden } from '#testing/golden.ts';
import type { Endpoint, Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud, TOKEN_MILLISECONDS } from './cloud.fixture.ts';
import { endpointTable } from './table.ts';
import { BODIES, filled, MEMBERS, Tenancy, type World } from './tenancy.fixture.ts';

let cloud: TestCloud;
let tenancy: Tenancy;
let endpoints: Endpoint[];
const tokens = new Map<string, string | undefined>();

/** Users with a scope that reaches everywhere. */
const READERS = { auditor: 'cloud_controller.global_auditor', reader: 'cloud_controller.admin_read_only' };
const ACTORS = ['nobody', 'stranger', 'neighbour', ...MEMBERS, ...Object.keys(READERS), 'admin'];
const OUTSIDERS = ['nobody', 'stranger', 'neighbour'];

before(async () => {
  cloud = await startTestCloud();
  tenancy = new Tenancy(cloud);
  await tenancy.broker.listen();
  await cloud.json('PATCH', '/v3/feature_flags/route_sharing', { enabled: true });
  endpoints = endpointTable(cloud.api.context);
  const organization = String((await cloud.json('POST', '/v3/organizations', { name: 'next door' })).guid);
  const one = (guid: string) => ({ data: { guid } });
  const space = await cloud.json('POST', '/v3/spaces', {
    name: 's',
    relationships: { organization: one(organization) },
  });
  await logIn();
  const [neighbour] = (await cloud.json('GET', '/v3/users?usernames=neighbour')).resources as Json[];
  const grant = (type: string, place: Json) =>
    cloud.json('POST', '/v3/roles', { type, relationships: { user: one(String(neighbour?.guid)), ...place } });
  for (const type of ['organization_user', 'organization_manager'])
    await grant(type, { organization: one(organization) });
  for (const type of ['space_developer', 'space_manager']) await grant(type, { space: one(String(space.guid)) });
});
after(async () => {
  await cloud?.close();
  await tenancy?.broker[Symbol.asyncDispose]();
});

let since = 0;

/** Everybody, anew where it was a while ago: on a busy machine this takes longer than a token is good for. */
async function logIn(): Promise<void> {
  if (Date.now() - since < TOKEN_MILLISECONDS) return;
  since = Date.now();
  for (const name of ['stranger', 'neighbour', ...MEMBERS]) tokens.set(name, await tenancy.token(name));
  for (const [name, scope] of Object.entries(READERS)) tokens.set(name, await tenancy.token(name, [scope]));
  tokens.set('admin', String((await cloud.login('admin', cloud.password)).body.access_token));
}

async function ask({ method, path }: Endpoint, actor: string, world: World): Promise<Answer> {
  await logIn();
  const body = BODIES[`${method} ${path}`]?.(world);
  return cloud.call(method, filled(path, world), body, {
    token: tokens.get(actor) ?? '',
    ...(typeof body === 'string' ? { headers: { 'content-type': 'application/x-yaml' } } : {}),
  });
}

test('every endpoint that takes a body is asked with one', () => {
  const without = endpoints
    .filter(({ method }) => method !== 'GET' && method !== 'DELETE')
    .map(({ method, path }) => `${method} ${path}`)
    .filter((name) => !Object.hasOwn(BODIES, name));
  assert.deepEqual(without, []);
  const known = new Set(endpoints.map(({ method, path }) => `${method} ${path}`));
  assert.deepEqual(
    Object.keys(BODIES).filter((name) => !known.has(name)),
    [],
  );
});

test('who is outside changes nothing, and is told nothing', async () => {
  const world = await tenancy.world();
  const secrets = [
    world.mark,
    ...Object.entries(world.guids)
      .filter(([kind]) => !SHARED.has(kind))
      .map(([, guid]) => guid),
  ];
  for (const endpoint of endpoints) {
    const name = `${endpoint.method} ${endpoint.path}`;
    for (const actor of OUTSIDERS) {
      const { status, text } = await ask(endpoint, actor, world);
      const what = `${name} by ${actor}: ${status} ${text.slice(0, 300)}`;
      if (actor === 'nobody' && endpoint.auth !== 'none') assert.equal(status, 401, what);
      // What an answer repeats of the question is no secret.
      const asked = JSON.stringify(BODIES[name]?.(world)) + filled(endpoint.path, world);
      if (status < 300) {
        for (const secret of secrets)
          assert.ok(asked.includes(secret) || !text.includes(secret), `${what} tells ${secret}`);
        assert.ok(endpoint.method === 'GET' || OPEN.has(name), what);
        assert.ok(!mentionsWorld(endpoint.path), what);
      } else assert.ok([401, 403, 404, 422].includes(status), what);
    }
  }
});

/** The same for everybody. */
const SHARED = new Set(['stacks', 'buildpacks', 'jobs']);
/** Anybody with an account may ask these: they touch nothing of anybody's. */
const OPEN = new Set(['POST /v3/resource_matches']);

function mentionsWorld(path: string): boolean {
  const segments = path.split('/');
  return segments.some((segment, index) => segment === ':guid' && !SHARED.has(segments[index - 1] ?? ''));
}

test('each role may do what Cloud Foundry lets it', async () => {
  let world = await tenancy.world();
  const lines = [`${ACTORS.join(' ')}\n`];
  for (const endpoint of endpoints) {
    const statuses: number[] = [];
    for (const actor of ACTORS) {
      const { status } = await ask(endpoint, actor, world);
      statuses.push(status);
      if (status >= 300 || endpoint.method === 'GET') continue;
      // What ended or went is there again for the next one; an instance comes back by itself.
      const lasting =
        /(cancel|stop)$/.test(endpoint.path) || (endpoint.method === 'DELETE' && !endpoint.path.endsWith(':index'));
      if (lasting) world = await tenancy.world();
      else await tenancy.settled(world);
    }
    lines.push(`${statuses.join(' ')}  ${endpoint.method} ${endpoint.path}\n`);
  }
  matchesGolden(join(import.meta.dirname, 'testdata', 'tenancy.txt'), lines.join(''));
});
