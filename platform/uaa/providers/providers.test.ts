import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type IdentityProviderDouble, startIdentityProvider } from '#testing/identity-provider.ts';
import { users } from '../../resources/types.ts';
import type { Json } from '../../cloud-controller/api.ts';
import { startTestCloud, type TestCloud } from '../../cloud-controller/cloud.fixture.ts';
import { Browser, type Page } from '../browser/browser.fixture.ts';
import { userGuid } from '../users.ts';

let cloud: TestCloud;
let idp: IdentityProviderDouble;
let providerPath: string;

before(async () => {
  cloud = await startTestCloud({ found: true });
  idp = await startIdentityProvider();
  const made = await uaa('POST', '/identity-providers', provider());
  assert.equal(made.status, 201, made.text);
  assert.doesNotMatch(made.text, /between us/);
  providerPath = `/identity-providers/${String(made.body.id)}`;
});
after(async () => {
  await idp?.[Symbol.asyncDispose]();
  await cloud?.close();
});

const provider = (config: Json = {}, rest: Json = {}): Json => ({
  type: 'oidc1.0',
  name: 'Corp <Inc>',
  originKey: 'corp',
  config: { discoveryUrl: idp.url, relyingPartyId: idp.clientId, relyingPartySecret: idp.clientSecret, ...config },
  ...rest,
});

async function uaa(method: string, path: string, body?: Json, token = cloud.token) {
  const response = await fetch(`${cloud.uaaUrl}${path}`, {
    method,
    headers: { authorization: `bearer ${token}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  return { status: response.status, text, body: (text === '' ? {} : JSON.parse(text)) as Json };
}

/** Away to the provider and back, as a browser goes. */
async function logIn(browser: Browser, next = '/passcode'): Promise<Page> {
  const away = await browser.go(`/login/external/corp?${new URLSearchParams({ next }).toString()}`);
  assert.equal(away.status, 303, away.text);
  const back = await fetch(away.location, { redirect: 'manual' });
  const { pathname, search } = new URL(back.headers.get('location') ?? '');
  return browser.go(`${pathname}${search}`);
}

/** A token, by the code that the browser is shown after its login. */
async function tokenOf(browser: Browser): Promise<Json> {
  const code = /class="code">([A-Z0-9]{12})</.exec((await browser.go('/passcode')).text)?.[1] ?? '';
  const response = await fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'password', passcode: code }),
  });
  assert.equal(response.status, 200);
  return (await response.json()) as Json;
}

const scopesOf = (token: Json): string[] => String(token.scope).split(' ');

test('somebody logs in at the provider, is a user of its origin here, and their groups are mapped', async () => {
  const mapping = { displayName: 'cloud_controller.admin_read_only', externalGroup: 'auditors', origin: 'corp' };
  assert.equal((await uaa('POST', '/Groups/External', mapping)).status, 201);
  assert.equal((await uaa('POST', '/Groups/External', mapping)).status, 409);
  const login = await new Browser(cloud.uaaUrl).go('/login');
  assert.match(login.text, /href="http:[^"]*\/login\/external\/corp\?next=%2Fpasscode">Log in with Corp &lt;Inc&gt;</);
  idp.claims = { sub: 'subject-1', preferred_username: 'ann', email: 'ann@corp.example.com' };
  // Where the token leaves something out, the provider is asked.
  idp.userInfo = { groups: ['staff', 'auditors'] };
  const browser = new Browser(cloud.uaaUrl);
  const entered = await logIn(browser);
  assert.deepEqual([entered.status, entered.location], [303, '/passcode'], entered.text);
  const token = await tokenOf(browser);
  assert.ok(scopesOf(token).includes('cloud_controller.admin_read_only'));
  const [ann] = (await cloud.json('GET', '/v3/users?usernames=ann')).resources as Json[];
  assert.deepEqual([ann?.origin, ann?.guid], ['corp', userGuid('ann', 'corp')]);
  assert.equal((await cloud.login('ann', '')).status, 401, 'there is no password here');

  // What the provider takes away is gone with the next login, and what was given here stays.
  await cloud.plane.client.patch(users, String(ann?.guid), {
    type: 'merge',
    body: { spec: { groups: ['given.here'] } },
  });
  idp.userInfo = {};
  idp.claims = { ...idp.claims, groups: 'staff' };
  await logIn(browser);
  const scopes = scopesOf(await tokenOf(browser));
  assert.deepEqual([scopes.includes('given.here'), scopes.includes('cloud_controller.admin_read_only')], [true, false]);
  const listed = await uaa('GET', '/Groups/External');
  assert.deepEqual(
    (listed.body.resources as Json[]).map(({ externalGroup }) => externalGroup),
    ['auditors'],
  );
  const gone = '/Groups/External/displayName/cloud_controller.admin_read_only/externalGroup/auditors/origin/corp';
  assert.deepEqual([(await uaa('DELETE', gone)).status, (await uaa('DELETE', gone)).status], [200, 404]);
});

test('a login leads on to the client that asked for it', async () => {
  idp.claims = { sub: 'subject-2', preferred_username: 'joe' };
  const callback = 'https://shop.example.com/callback';
  const client = {
    client_id: 'shop',
    client_secret: 'x',
    authorized_grant_types: ['authorization_code'],
    scope: ['openid'],
    redirect_uri: [callback],
    autoapprove: true,
  };
  assert.equal((await uaa('POST', '/oauth/clients', client)).status, 201);
  const browser = new Browser(cloud.uaaUrl);
  const asked = `/oauth/authorize?${new URLSearchParams({ client_id: 'shop', response_type: 'code' }).toString()}`;
  const entered = await logIn(browser, asked);
  assert.equal(entered.location, asked);
  assert.ok((await browser.go(asked)).location.startsWith(`${callback}?code=`));
});

test('what does not fit is refused: another nonce, audience, issuer or key, an old token, an error, another secret', async () => {
  idp.claims = { sub: 'subject-3', preferred_username: 'eve' };
  for (const lies of [
    { nonce: 'another' },
    { audience: 'another' },
    { issuer: 'https://evil.example.com' },
    { strangeKey: true },
    { expired: true },
  ]) {
    idp.lies = lies;
    const browser = new Browser(cloud.uaaUrl);
    const page = await logIn(browser);
    assert.equal(page.status, 403, JSON.stringify(lies));
    assert.match(page.text, /role="alert">The login with Corp &lt;Inc&gt; did not work/);
    assert.equal((await browser.go('/passcode')).location, '/login');
  }
  idp.lies = {};
  idp.refuses = 'access_denied';
  assert.match((await logIn(new Browser(cloud.uaaUrl))).text, /did not work \(access_denied\)/);
  delete idp.refuses;
  idp.clientSecret = 'changed';
  assert.match((await logIn(new Browser(cloud.uaaUrl))).text, /did not work/);
  idp.clientSecret = 'between us';
  assert.equal((await cloud.json('GET', '/v3/users?usernames=eve')).resources instanceof Array, true);
  assert.deepEqual((await cloud.json('GET', '/v3/users?usernames=eve')).resources, []);
});

test('a login is of the browser that began it, once', async () => {
  idp.claims = { sub: 'subject-4', preferred_username: 'kim' };
  const [own, other] = [new Browser(cloud.uaaUrl), new Browser(cloud.uaaUrl)];
  const away = await own.go('/login/external/corp');
  const back = new URL((await fetch(away.location, { redirect: 'manual' })).headers.get('location') ?? '');
  // Another site may send a browser here with a code of its own account.
  assert.equal((await other.go(`${back.pathname}${back.search}`)).status, 403);
  assert.equal((await own.go(`${back.pathname}${back.search}`)).status, 403, 'it was tried once');
  assert.equal((await logIn(own)).status, 303);
  assert.equal((await own.go('/login/callback/corp?code=x&state=')).status, 403);
  assert.equal((await own.go('/login/external/nobody')).status, 404);
});

test('a name belongs to who came with it first; names that are none, and users that are not active, are refused', async () => {
  idp.claims = { sub: 'subject-5', preferred_username: 'lee' };
  assert.equal((await logIn(new Browser(cloud.uaaUrl))).status, 303);
  idp.claims = { sub: 'subject-6', preferred_username: 'LEE' };
  assert.match((await logIn(new Browser(cloud.uaaUrl))).text, /belongs to somebody else/);
  for (const name of ['', 'a\nb', 7, undefined, 'x'.repeat(256)]) {
    idp.claims = { sub: 'subject-7', preferred_username: name };
    assert.match((await logIn(new Browser(cloud.uaaUrl))).text, /no usable name/, JSON.stringify(name));
  }
  const guid = userGuid('lee', 'corp');
  await cloud.plane.client.patch(users, guid, { type: 'merge', body: { spec: { active: false } } });
  idp.claims = { sub: 'subject-5', preferred_username: 'lee' };
  assert.match((await logIn(new Browser(cloud.uaaUrl))).text, /lee is not active/);
});

test('an administrator may keep strangers out, turn a provider off, and take it away: its users are gone with it', async () => {
  idp.claims = { sub: 'subject-8', preferred_username: 'max' };
  const closed = provider({ addShadowUserOnLogin: false });
  assert.equal((await uaa('PUT', providerPath, closed)).status, 200);
  assert.match((await logIn(new Browser(cloud.uaaUrl))).text, /max is no user here/);
  const user = { userName: 'max', origin: 'corp', name: { givenName: 'M', familyName: 'X' }, emails: [] };
  assert.equal((await uaa('POST', '/Users', user)).status, 201);
  const browser = new Browser(cloud.uaaUrl);
  assert.equal((await logIn(browser)).status, 303);
  const { refresh_token: refresh } = await tokenOf(browser);
  const renew = () =>
    fetch(`${cloud.uaaUrl}/oauth/token`, {
      method: 'POST',
      headers: { authorization: 'Basic Y2Y6' },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: String(refresh) }),
    });
  assert.equal((await renew()).status, 200);
  assert.equal((await uaa('PUT', providerPath, provider({}, { active: false }))).status, 200);
  assert.equal((await browser.go('/login/external/corp')).status, 404);
  assert.doesNotMatch((await browser.go('/login')).text, /external/);
  assert.equal((await renew()).status, 401);
  assert.equal((await browser.go('/passcode')).location, '/login');
  assert.equal((await uaa('DELETE', providerPath)).status, 200);
  assert.deepEqual((await uaa('GET', '/identity-providers')).body, []);
});

test('cf auth --origin: a provider that takes passwords is asked, and others are not', async () => {
  const settings = (passwordGrantEnabled: boolean) => provider({ passwordGrantEnabled }, { originKey: 'direct' });
  const made = await uaa('POST', '/identity-providers', settings(false));
  assert.equal(made.status, 201, made.text);
  idp.passwords.set('dan', 'secret of dan');
  idp.claims = { sub: 'subject-9', preferred_username: 'dan', groups: [] };
  const login = async (password: string, origin: string) => {
    const query = new URLSearchParams({ login_hint: JSON.stringify({ origin }) }).toString();
    const response = await fetch(`${cloud.uaaUrl}/oauth/token?${query}`, {
      method: 'POST',
      headers: { authorization: 'Basic Y2Y6' },
      body: new URLSearchParams({ grant_type: 'password', username: 'dan', password }),
    });
    return { status: response.status, body: (await response.json()) as Json };
  };
  const refused = await login('secret of dan', 'direct');
  assert.deepEqual(
    [refused.status, /does not match an active/.test(String(refused.body.error_description))],
    [401, true],
  );
  const path = `/identity-providers/${String(made.body.id)}`;
  assert.equal((await uaa('PUT', path, settings(true))).status, 200);
  const entered = await login('secret of dan', 'direct');
  assert.equal(entered.status, 200, JSON.stringify(entered.body));
  const { spec } = await cloud.plane.client.get(users, userGuid('dan', 'direct'));
  assert.deepEqual([spec.origin, spec.externalId], ['direct', 'subject-9']);
  const wrong = await login('wrong', 'direct');
  assert.deepEqual([wrong.status, wrong.body.error_description], [401, 'Bad credentials']);
  idp.lies = { strangeKey: true };
  assert.equal((await login('secret of dan', 'direct')).status, 403, 'its word counts by its signature');
  idp.lies = {};
  assert.equal((await uaa('DELETE', path)).status, 200);
});

test('UAA is a provider as others are: here for itself, with a page to log in at and one to agree on', async () => {
  const client = {
    client_id: 'other-uaa',
    client_secret: 'x y&z',
    authorized_grant_types: ['authorization_code'],
    scope: ['openid'],
    redirect_uri: [`${cloud.uaaUrl}/login/callback/self`],
  };
  assert.equal((await uaa('POST', '/oauth/clients', client)).status, 201);
  const config = {
    discoveryUrl: `${cloud.uaaUrl}/oauth/token`,
    relyingPartyId: 'other-uaa',
    relyingPartySecret: 'x y&z',
    scopes: ['openid'],
    attributeMappings: { user_name: 'user_name' },
  };
  assert.equal((await uaa('POST', '/identity-providers', provider(config, { originKey: 'self' }))).status, 201);
  const [here, there] = [new Browser(cloud.uaaUrl), new Browser(cloud.uaaUrl)];
  const away = await here.go('/login/external/self');
  const login = await there.go((await there.go(away.location)).location);
  const entered = await there.send(login, '/login.do', { username: 'admin', password: cloud.password });
  const back = await there.send(await there.go(entered.location), '/oauth/authorize', { user_oauth_approval: 'true' });
  assert.equal((await here.go(back.location)).location, '/passcode', back.location);
  const token = await tokenOf(here);
  assert.ok(!scopesOf(token).includes('cloud_controller.admin'), 'of another origin it is another user');
});

test('only administrators see and change providers, and what is none is refused', async () => {
  const made = await uaa('POST', '/Users', { userName: 'plain', password: 'pw', name: {}, emails: [] });
  assert.equal(made.status, 201);
  const token = String((await cloud.login('plain', 'pw')).body.access_token);
  for (const [method, path] of [
    ['GET', '/identity-providers'],
    ['POST', '/identity-providers'],
    ['GET', '/Groups/External'],
    ['POST', '/Groups/External'],
  ] as const) {
    assert.equal((await uaa(method, path, method === 'POST' ? provider() : undefined, token)).status, 403, path);
  }
  for (const wrong of [
    provider({}, { originKey: 'uaa' }),
    provider({}, { originKey: 'a b' }),
    provider({}, { type: 'saml' }),
    provider({ discoveryUrl: 'http://idp.example.com' }),
    provider({ scopes: [] }),
    provider({}, { config: 'not json' }),
  ])
    assert.equal((await uaa('POST', '/identity-providers', wrong)).status, 400, JSON.stringify(wrong));
});
