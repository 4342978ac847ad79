import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiError } from '#cluster/client/client.ts';
import { configMaps } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { clientAddress, RateLimiter, type RateLimits } from './rate-limits.ts';
import { Tenancy } from './tenancy.fixture.ts';

let cloud: TestCloud;

before(async () => {
  cloud = await startTestCloud();
});
after(() => cloud?.close());

/** Resolves when they count. */
async function limit(values: Partial<Record<keyof RateLimits, string>>): Promise<void> {
  const { client } = cloud.plane;
  const object = { metadata: { name: 'api-rate-limits', namespace: systemNamespace }, data: values };
  try {
    await client.create(configMaps, object);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await client.update(configMaps, object);
  }
  const { rates } = cloud.api.context;
  await cloud.until('the limits', () =>
    Object.entries(values).every(([name, value]) => String(rates.limits()[name as keyof RateLimits]) === value),
  );
}

const codeOf = (answer: Answer): unknown => (answer.body.errors as Json[])[0]?.code;

test('a user is limited and told so, others and administrators are not; another number counts at once', async () => {
  const tenancy = new Tenancy(cloud);
  const [token, other] = [await tenancy.token('limited'), await tenancy.token('other')];
  await limit({ general: '3' });
  const ask = (who: string) => cloud.call('GET', '/v3/apps', undefined, { token: who });
  for (const left of [2, 1, 0]) {
    const answer = await ask(token);
    assert.equal(answer.status, 200);
    assert.deepEqual(
      [answer.headers.get('x-ratelimit-limit'), answer.headers.get('x-ratelimit-remaining')],
      ['3', String(left)],
    );
    assert.ok(Number(answer.headers.get('x-ratelimit-reset')) > Date.now() / 1000);
  }
  const refused = await ask(token);
  assert.deepEqual([refused.status, codeOf(refused)], [429, 10013]);
  assert.equal((refused.body.errors as Json[])[0]?.title, 'CF-RateLimitExceeded');
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  assert.equal(refused.headers.get('x-ratelimit-remaining'), '0');
  assert.equal((await ask(other)).status, 200);
  const admin = await ask(cloud.token);
  assert.deepEqual([admin.status, admin.headers.get('x-ratelimit-limit')], [200, null]);
  const { rate_limits: told } = await cloud.json('GET', '/v3/info');
  assert.deepEqual(told, { enabled: true, general_limit: 3, reset_interval_in_minutes: 60 });
  await limit({ general: '5' });
  assert.equal((await ask(token)).status, 200);
  await limit({ enabled: 'false' });
  assert.equal((await ask(token)).headers.get('x-ratelimit-limit'), null);
});

test('who has no valid token is limited by address: what the router says, not what the client does', async () => {
  await limit({ enabled: 'true', unauthenticated: '2' });
  const ask = (forwarded: string, token = 'no token') =>
    cloud.call('GET', '/v3/apps', undefined, { token, headers: { 'x-forwarded-for': forwarded } });
  for (const fake of ['192.0.2.1', '192.0.2.2']) assert.equal((await ask(`${fake}, 198.51.100.7`)).status, 401);
  const refused = await ask('192.0.2.3, 198.51.100.7');
  assert.deepEqual([refused.status, codeOf(refused)], [429, 10014]);
  assert.equal((await ask('198.51.100.8')).status, 401);
  assert.equal((await ask('198.51.100.7', cloud.token)).status, 200, 'a token is known wherever it comes from');
  for (const path of ['/', '/v3', '/healthz']) {
    const headers = { 'x-forwarded-for': '198.51.100.7' };
    assert.equal((await cloud.call('GET', path, undefined, { headers })).status, 200);
  }
});

test('windows end by themselves; addresses of one network of IPv6 count as one', async () => {
  let now = 1_000_000;
  const limiter = new RateLimiter(cloud.plane.client, { now: () => now });
  try {
    const user: Identity = {
      userId: 'joe',
      userName: 'joe',
      clientId: 'cf',
      origin: 'uaa',
      scopes: [],
      admin: false,
      reads: 'own',
    };
    const remaining = () => limiter.count(user, '')?.headers['x-ratelimit-remaining'];
    assert.deepEqual([remaining(), remaining()], ['19999', '19998']);
    now += 60 * 60_000;
    assert.equal(remaining(), '19999');
    const left = (address: string) => limiter.count(undefined, address)?.headers['x-ratelimit-remaining'];
    assert.deepEqual([left('2001:db8::1'), left('2001:0DB8:0:0:5::1'), left('2001:db8:0:1::1')], ['999', '998', '999']);
  } finally {
    limiter.close();
  }
});

test('the address of a client is the last that a proxy on this machine added, else the peer', () => {
  assert.equal(clientAddress('127.0.0.1', '192.0.2.1, 198.51.100.7'), '198.51.100.7');
  assert.equal(clientAddress('::ffff:127.0.0.1', ['192.0.2.1', '198.51.100.7']), '198.51.100.7');
  assert.equal(clientAddress('203.0.113.5', '198.51.100.7'), '203.0.113.5');
  assert.equal(clientAddress('127.0.0.1', undefined), '127.0.0.1');
});
