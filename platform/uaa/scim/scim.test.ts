import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { configMaps } from '../../resources/kubernetes.ts';
import { systemNamespace } from '../../resources/types.ts';
import { startTestCloud, type TestCloud } from '../../cloud-controller/cloud.fixture.ts';
import { parseFilter } from './filter.ts';

type Json = Record<string, unknown>;

let cloud: TestCloud;

before(async () => {
  cloud = await startTestCloud();
});
after(() => cloud?.close());

async function call(
  method: string,
  path: string,
  body?: unknown,
  options: { token?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number; body: Json }> {
  const response = await fetch(`${cloud.uaaUrl}${path}`, {
    method,
    headers: {
      authorization: `bearer ${options.token ?? cloud.token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Json) };
}

/** As `cf create-user` asks. */
const newUser = (name: string, password = 'secret') => ({
  userName: name,
  password,
  origin: 'uaa',
  name: { familyName: name, givenName: name },
  emails: [{ value: name, primary: true }],
});

async function token(name: string, password = 'secret'): Promise<string> {
  const answer = await cloud.login(name, password);
  assert.equal(answer.status, 200, answer.text);
  return String(answer.body.access_token);
}

test('users: made, found, given a role, deleted, as cf does it', async () => {
  const made = await call('POST', '/Users', newUser('bob'));
  assert.equal(made.status, 201);
  assert.deepEqual([made.body['userName'], made.body['origin'], made.body['active']], ['bob', 'uaa', true]);
  const id = String(made.body['id']);
  assert.deepEqual(await call('POST', '/Users', newUser('Bob')), {
    status: 409,
    body: {
      error: 'scim_resource_already_exists',
      error_description: 'Username already in use: Bob',
      message: 'Username already in use: Bob',
    },
  });
  const filter = encodeURIComponent('userName eq "BOB" and origin eq "uaa"');
  const found = await call('GET', `/Users?filter=${filter}&attributes=id,userName`);
  assert.deepEqual(found.body['resources'], [{ id, userName: 'bob' }]);
  const known = await cloud.call('POST', '/v3/users', { guid: id });
  assert.deepEqual([known.status, known.body.username], [201, 'bob']);
  const space = ((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0];
  const organization = ((await cloud.json('GET', '/v3/organizations')).resources as Json[])[0];
  const role = (type: string, place: Json) =>
    cloud.json('POST', '/v3/roles', {
      type,
      relationships: { user: { data: { username: 'bob', origin: 'uaa' } }, ...place },
    });
  await role('organization_user', { organization: { data: { guid: organization?.['guid'] } } });
  await role('space_developer', { space: { data: { guid: space?.['guid'] } } });
  await token('bob');
  const forgotten = await cloud.call('DELETE', `/v3/users/${id}`);
  assert.equal((await cloud.finished(forgotten)).state, 'COMPLETE');
  assert.equal(((await cloud.json('GET', `/v3/roles?user_guids=${id}`)).resources as Json[]).length, 0);
  // cf sends this header, and nothing.
  const headers = { 'content-type': 'application/json' };
  assert.equal((await call('DELETE', `/Users/${id}`, undefined, { headers })).status, 200);
  assert.equal((await call('GET', `/Users/${id}`)).status, 404);
  assert.equal((await cloud.login('bob', 'secret')).status, 401);
});

test("passwords: the owner needs the old one, a change voids refresh tokens, the policy is in UAA's words", async () => {
  const id = String((await call('POST', '/Users', newUser('eve'))).body['id']);
  const path = `/Users/${id}/password`;
  const session = await cloud.login('eve', 'secret');
  const own = { token: String(session.body.access_token) };
  assert.equal((await call('PUT', path, { oldPassword: 'wrong', password: 'next' }, own)).status, 401);
  const same = await call('PUT', path, { oldPassword: 'secret', password: 'secret' }, own);
  assert.deepEqual([same.status, same.body['error']], [422, 'invalid_password']);
  assert.equal((await call('PUT', path, { oldPassword: 'secret', password: 'next' }, own)).status, 200);
  const refreshed = await fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: String(session.body.refresh_token) }),
  });
  assert.equal(refreshed.status, 401);
  await cloud.plane.client.create(configMaps, {
    metadata: { name: 'uaa-password-policy', namespace: systemNamespace },
    data: { minLength: '8', maxLength: '20', requireDigit: '1' },
  });
  const weak = await call('PUT', path, { password: 'short' });
  assert.deepEqual(
    [weak.status, weak.body['error_description']],
    [422, 'Password must be at least 8 characters in length. Password must contain at least 1 digit characters.'],
  );
  assert.match(
    String((await call('PUT', path, { password: 'far too long to be typed 1' })).body['error_description']),
    /^Password must be no more than 20 characters in length\.$/,
  );
  assert.equal(
    (await call('PUT', path, { password: 'long enough 1' })).status,
    200,
    'an administrator needs no old one',
  );
  await token('eve', 'long enough 1');
  await cloud.plane.client.delete(configMaps, 'uaa-password-policy', { namespace: systemNamespace });
});

test('users: profiles change against their version, who is not active is out, nobody without the scope', async () => {
  const made = await call('POST', '/Users', newUser('joe'));
  const id = String(made.body['id']);
  const version = `"${String((made.body['meta'] as Json)['version'])}"`;
  const session = await cloud.login('joe', 'secret');
  const stranger = { token: String(session.body.access_token) };
  assert.deepEqual((await call('GET', '/Users', undefined, stranger)).body['error'], 'insufficient_scope');
  assert.equal((await call('GET', `/Users/${id}`, undefined, stranger)).status, 200, 'oneself');
  assert.equal((await call('PATCH', `/Users/${id}`, { active: false }, stranger)).status, 403);
  assert.equal((await call('PUT', `/Users/${id}`, newUser('joe'))).status, 400, 'no version');
  const changed = await call(
    'PUT',
    `/Users/${id}`,
    { ...newUser('joe'), externalId: 'x' },
    { headers: { 'if-match': version } },
  );
  assert.equal(changed.body['externalId'], 'x');
  const stale = await call('PUT', `/Users/${id}`, newUser('joe'), { headers: { 'if-match': version } });
  assert.equal(stale.status, 409);
  const renamed = await call('PATCH', `/Users/${id}`, { userName: 'jim' });
  assert.match(String(renamed.body['error_description']), /userName cannot be changed/);
  assert.equal((await call('PATCH', `/Users/${id}`, { active: false })).body['active'], false);
  assert.equal((await cloud.login('joe', 'secret')).status, 401);
  const anonymous = await fetch(`${cloud.uaaUrl}/Users`);
  assert.equal(anonymous.status, 401);
});

test('lock-out: who guesses keeps the user out for a while, and an administrator lets them in', async () => {
  const id = String((await call('POST', '/Users', newUser('lee'))).body['id']);
  await cloud.until('the name is locked', async () => {
    const { body } = await cloud.login('lee', 'guess');
    return /locked because of too many failed attempts/.test(String(body['error_description']));
  });
  await call('POST', '/Users', newUser('mo'));
  const stranger = { token: await token('mo') };
  assert.equal((await call('PATCH', `/Users/${id}/status`, { locked: false }, stranger)).status, 403);
  assert.match(
    String((await call('PATCH', `/Users/${id}/status`, { locked: true })).body['error_description']),
    /locked must be false/,
  );
  assert.deepEqual((await call('PATCH', `/Users/${id}/status`, { locked: false })).body, { locked: false });
  assert.equal((await cloud.login('lee', 'secret')).status, 200);
});

test('groups are scopes of the tokens of their members', async () => {
  const id = String((await call('POST', '/Users', newUser('ann'))).body['id']);
  const made = await call('POST', '/Groups', { displayName: 'shop.admin', members: [{ value: id }] });
  assert.equal(made.status, 201);
  assert.deepEqual(
    (made.body['members'] as Json[]).map(({ value }) => value),
    [id],
  );
  assert.equal((await call('POST', '/Groups', { displayName: 'shop.admin' })).status, 409);
  const scopes = async () => {
    const [, claims = ''] = (await token('ann')).split('.');
    return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { scope: string[] }).scope;
  };
  assert.ok((await scopes()).includes('shop.admin'));
  const path = `/Groups/${String(made.body['id'])}`;
  assert.equal((await call('DELETE', `${path}/members/${id}`)).status, 200);
  assert.ok(!(await scopes()).includes('shop.admin'));
  const known = await call('GET', `/Groups?filter=${encodeURIComponent('displayName eq "cloud_controller.admin"')}`);
  const [admins = {}] = known.body['resources'] as Json[];
  assert.equal((await call('DELETE', `/Groups/${String(admins['id'])}`)).status, 400);
  await call('POST', `/Groups/${String(admins['id'])}/members`, { value: id });
  const asAdmin = await cloud.call('GET', '/v3/organization_quotas', undefined, { token: await token('ann') });
  assert.equal(((asAdmin.body.resources as Json[] | undefined) ?? []).length, 1, 'an administrator now');
  assert.equal((await call('DELETE', path)).status, 200);
});

test('clients: registered, given tokens for themselves, changed and revoked; secrets never come out', async () => {
  const spec = {
    client_id: 'robot',
    client_secret: 'oil',
    authorized_grant_types: 'client_credentials,refresh_token',
    authorities: ['scim.read'],
    access_token_validity: 60,
  };
  const made = await call('POST', '/oauth/clients', spec);
  assert.equal(made.status, 201);
  assert.equal(made.body['client_secret'], undefined);
  assert.equal((await call('POST', '/oauth/clients', spec)).status, 400);
  assert.match(
    String(
      (await call('POST', '/oauth/clients', { client_id: 'x', authorized_grant_types: ['magic'] })).body[
        'error_description'
      ],
    ),
    /"magic" is none of the grant types/,
  );
  const own = async (secret: string) => {
    const response = await fetch(`${cloud.uaaUrl}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`robot:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    });
    return { status: response.status, body: (await response.json()) as Json };
  };
  assert.equal((await own('rust')).status, 401);
  const granted = await own('oil');
  assert.deepEqual(
    [granted.body['scope'], granted.body['expires_in'], granted.body['refresh_token']],
    ['scim.read', 60, undefined],
  );
  const robot = { token: String(granted.body['access_token']) };
  assert.equal((await call('GET', '/Users', undefined, robot)).status, 200);
  assert.equal((await call('POST', '/Users', newUser('x'), robot)).status, 403);
  assert.equal((await call('PUT', '/oauth/clients/robot/secret', { secret: 'grease' })).status, 200);
  assert.equal((await own('oil')).status, 401);
  assert.equal((await call('GET', '/oauth/token/revoke/client/robot')).status, 200);
  assert.equal((await call('GET', '/Users', undefined, robot)).status, 401);
  const other = { client_id: 'a-robot', client_secret: 'x', authorized_grant_types: ['client_credentials'] };
  assert.equal((await call('POST', '/oauth/clients', other)).status, 201);
  const listed = async (query: string) => {
    const { body } = await call('GET', `/oauth/clients?${query}`);
    return [body['totalResults'], (body['resources'] as Json[]).map(({ client_id }) => client_id).join()];
  };
  const ours = encodeURIComponent('client_id co "robot"');
  assert.deepEqual(await listed(`filter=${ours}`), [2, 'a-robot,robot']);
  assert.deepEqual(await listed(`filter=${ours}&sortOrder=descending&count=1`), [2, 'robot']);
  assert.deepEqual(await listed(`filter=${ours}&startIndex=2&count=1`), [2, 'robot']);
  assert.equal((await call('GET', '/oauth/clients?filter=client_secret+pr')).status, 400);
  assert.equal((await call('DELETE', '/oauth/clients/a-robot')).status, 200);
  assert.equal((await call('DELETE', '/oauth/clients/cf')).body['error'], 'access_denied');
  assert.equal((await call('DELETE', '/oauth/clients/robot')).status, 200);
  assert.equal((await own('grease')).status, 401);
});

test('a token is revoked by itself, as cf logout does, and stays so after a restart', async () => {
  await call('POST', '/Users', newUser('zoe'));
  const session = await cloud.login('zoe', 'secret');
  const refresh = String(session.body.refresh_token);
  const claims = JSON.parse(Buffer.from(refresh.split('.')[1] ?? '', 'base64url').toString()) as Json;
  assert.equal(claims['revocable'], true);
  assert.equal((await call('DELETE', '/oauth/token/revoke/somebody-elses', undefined, { token: refresh })).status, 401);
  assert.equal(
    (await call('DELETE', `/oauth/token/revoke/${String(claims['jti'])}`, undefined, { token: refresh })).status,
    200,
  );
  const renew = async () =>
    fetch(`${cloud.uaaUrl}/oauth/token`, {
      method: 'POST',
      headers: { authorization: 'Basic Y2Y6' },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh }),
    });
  assert.equal((await renew()).status, 401);
  await cloud.restart();
  assert.equal((await renew()).status, 401);
});

test('a new key signs, and the old one still verifies, also after a restart', async () => {
  const before = await token('zoe');
  const kid = (text: string) =>
    (JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString()) as Json)['kid'];
  assert.equal((await call('POST', '/token_keys', undefined, { token: before })).status, 403);
  const rotated = await call('POST', '/token_keys');
  assert.equal(rotated.status, 201);
  const after = await token('zoe');
  assert.notEqual(kid(after), kid(before));
  assert.equal(kid(after), rotated.body['kid']);
  await cloud.restart();
  for (const one of [before, after])
    assert.equal((await cloud.call('GET', '/v3/apps', undefined, { token: one })).status, 200);
  const { keys } = (await (await fetch(`${cloud.uaaUrl}/token_keys`)).json()) as { keys: Json[] };
  assert.deepEqual(
    keys.map((key) => key['kid']),
    [kid(after), kid(before)],
  );
});

test('filters: what UAA takes, and errors that say what is wrong', () => {
  const attributes = { username: ['Joe "x"'], active: [true], email: [''] };
  const names = Object.keys(attributes);
  const matches = (text: string) => parseFilter(text, names)(attributes);
  for (const [text, result] of [
    ['userName eq "joe \\"x\\""', true],
    ['USERNAME SW "jo"', true],
    ['userName co "zz" or active eq true', true],
    ['userName co "zz" or active eq true and email pr', false],
    ['(userName co "zz" or active eq true) and userName pr', true],
    ["userName gt 'a' and userName lt 'k'", true],
  ] as const)
    assert.equal(matches(text), result, text);
  for (const [text, message] of [
    ['', /an attribute is missing/],
    ['password eq "x"', /"password" is none of username, active, email/],
    ['userName is "x"', /"is" is none of the operators/],
    ['userName eq', /a value is missing/],
    ['userName eq "x', /quotation mark at character 12 is not closed/],
    ['(userName pr', /a bracket is not closed/],
    ['userName pr)', /"\)" is not expected/],
    [`${'('.repeat(40)}userName pr`, /nested deeper/],
    ['x'.repeat(3000), /longer than/],
  ] as const)
    assert.throws(() => matches(text), message, text);
});
