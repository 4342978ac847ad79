/** Authorization codes, with a client library that holds UAA to the specifications, and a browser that sends forms. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as oidc from 'openid-client';
import { startTestCloud, type TestCloud } from '../../cloud-controller/cloud.fixture.ts';
import type { Json } from '../../cloud-controller/api.ts';
import { redirectWith, sameRedirect } from './authorization.ts';
import { Browser, type Page } from './browser.fixture.ts';
import { AuthorizationCodes } from './codes.ts';

let cloud: TestCloud;
let issuer: URL;

const CALLBACK = 'https://shop.example.com/callback';
const NATIVE = 'http://127.0.0.1/callback';

before(async () => {
  cloud = await startTestCloud({ found: true });
  issuer = new URL(`${cloud.uaaUrl}/oauth/token`);
  await register({ client_id: 'shop', client_secret: 'shop secret', name: 'The <Shop>' });
  await register({ client_id: 'trusted', client_secret: 'trusted secret', autoapprove: true });
  await register({ client_id: 'native', redirect_uri: [NATIVE, 'com.example.app:/callback'], autoapprove: ['openid'] });
  await register({
    client_id: 'resource',
    client_secret: 'resource secret',
    authorities: ['uaa.resource'],
    authorized_grant_types: ['client_credentials'],
  });
});
after(() => cloud?.close());

async function register(client: Json): Promise<void> {
  const response = await admin('POST', '/oauth/clients', {
    authorized_grant_types: ['authorization_code', 'refresh_token'],
    scope: ['openid', 'cloud_controller.read'],
    redirect_uri: [CALLBACK],
    ...client,
  });
  assert.equal(response.status, 201, await response.text());
}

function admin(method: string, path: string, body: Json): Promise<Response> {
  return fetch(`${cloud.uaaUrl}${path}`, {
    method,
    headers: { authorization: `bearer ${cloud.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

const insecure = { execute: [oidc.allowInsecureRequests] };
const discovered = (id: string, secret?: string) =>
  secret === undefined
    ? oidc.discovery(issuer, id, undefined, oidc.None(), insecure)
    : oidc.discovery(issuer, id, secret, undefined, insecure);

interface Started {
  url: URL;
  checks: { pkceCodeVerifier: string; expectedState: string; expectedNonce: string };
}

/** As a client begins. */
async function begin(
  config: oidc.Configuration,
  redirectUri: string,
  more: Record<string, string> = {},
): Promise<Started> {
  const checks = {
    pkceCodeVerifier: oidc.randomPKCECodeVerifier(),
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
  };
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid cloud_controller.read',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...more,
  });
  return { url, checks };
}

const pathOf = (url: URL) => `${url.pathname}${url.search}`;

/** From the client's URL to where somebody who logs in is sent, or the page that asks them. */
async function logIn(browser: Browser, url: URL): Promise<Page> {
  const away = await browser.go(pathOf(url));
  assert.equal(away.status, 303);
  const page = await browser.go(away.location);
  const entered = await browser.send(page, '/login.do', { username: 'admin', password: cloud.password });
  assert.equal(entered.status, 303, entered.text);
  return browser.go(entered.location);
}

test('a client with a secret: login, consent, code, tokens, user info, refresh, introspection, logout', async () => {
  const config = await discovered('shop', 'shop secret');
  const browser = new Browser(cloud.uaaUrl);
  const { url, checks } = await begin(config, CALLBACK);
  const consent = await logIn(browser, url);
  assert.equal(consent.status, 200);
  assert.match(consent.text, /The &lt;Shop&gt; wants to act for admin/);
  assert.doesNotMatch(consent.text, /<script|<Shop>/);
  const policy = String(consent.headers.get('content-security-policy'));
  assert.match(policy, /form-action 'self' https:\/\/shop\.example\.com;/, 'and nowhere else');
  const back = await browser.send(consent, '/oauth/authorize', { user_oauth_approval: 'true' });
  assert.ok(back.location.startsWith(`${CALLBACK}?code=`), back.location);
  const tokens = await oidc.authorizationCodeGrant(config, new URL(back.location), checks);
  const claims = tokens.claims();
  assert.equal(claims?.aud?.toString(), 'shop');
  assert.equal(tokens.scope, 'openid cloud_controller.read');
  const user = await oidc.fetchUserInfo(config, tokens.access_token, String(claims?.sub));
  assert.equal(user['user_name'], 'admin');
  assert.equal((await cloud.call('GET', '/v3/organizations', undefined, { token: tokens.access_token })).status, 200);
  const refused = await cloud.call('POST', '/v3/organizations', { name: 'x' }, { token: tokens.access_token });
  assert.equal(refused.status, 403, 'it was given no more than it asked for');
  assert.equal((await cloud.call('GET', '/v3/apps', undefined, { token: String(tokens.id_token) })).status, 401);
  const refreshed = await oidc.refreshTokenGrant(config, String(tokens.refresh_token));
  assert.equal(refreshed.scope, 'openid cloud_controller.read');

  const resource = await discovered('resource', 'resource secret');
  assert.equal((await oidc.tokenIntrospection(resource, refreshed.access_token)).active, true);
  assert.equal((await oidc.tokenIntrospection(resource, 'rubbish')).active, false);
  await assert.rejects(oidc.tokenIntrospection(config, refreshed.access_token), 'a client without uaa.resource');

  // Agreed once in a session is agreed; asked for more, or to ask, it asks.
  assert.match((await browser.go(pathOf((await begin(config, CALLBACK)).url))).location, /code=/);
  assert.equal((await browser.go(pathOf((await begin(config, CALLBACK, { prompt: 'consent' })).url))).status, 200);

  const end = oidc.buildEndSessionUrl(config, { post_logout_redirect_uri: CALLBACK });
  const asked = await browser.go(pathOf(end));
  assert.match((await browser.go('/passcode')).text, /class="code"/, 'a link alone logs nobody out');
  const out = await browser.send(await browser.go(pathOf(end)), '/logout.do', {});
  assert.deepEqual([asked.status, out.location], [200, CALLBACK]);
  assert.equal((await browser.go('/passcode')).location, '/login');
  const elsewhere = oidc.buildEndSessionUrl(config, { post_logout_redirect_uri: 'https://evil.example.com/' });
  const kept = await browser.send(await browser.go(pathOf(elsewhere)), '/logout.do', {});
  assert.equal(kept.location, '/login');
});

test('a program without a secret: any port of the loopback, PKCE, and a code that is good once', async () => {
  const config = await discovered('native');
  const browser = new Browser(cloud.uaaUrl);
  const redirect = 'http://127.0.0.1:51004/callback';
  const { url, checks } = await begin(config, redirect, { scope: 'openid' });
  const back = await logIn(browser, url);
  assert.ok(back.location.startsWith(`${redirect}?code=`), back.location);
  const arrived = new URL(back.location);
  const tokens = await oidc.authorizationCodeGrant(config, arrived, checks);
  assert.equal((await cloud.call('GET', '/v3/organizations', undefined, { token: tokens.access_token })).status, 403);
  const again = await oidc.authorizationCodeGrant(config, arrived, checks).catch((error: unknown) => error);
  assert.equal((again as { error?: string }).error, 'invalid_grant');
  await assert.rejects(
    oidc.fetchUserInfo(config, tokens.access_token, oidc.skipSubjectCheck),
    'what it gave is revoked',
  );
  await assert.rejects(oidc.refreshTokenGrant(config, String(tokens.refresh_token)));
});

test('one that is trusted asks nobody; prompt=none never shows a page', async () => {
  const config = await discovered('trusted', 'trusted secret');
  const browser = new Browser(cloud.uaaUrl);
  const silent = await begin(config, CALLBACK, { prompt: 'none' });
  const errorOf = ({ location }: Page) => new URL(location).searchParams.get('error');
  const nobody = await browser.go(pathOf(silent.url));
  assert.equal(errorOf(nobody), 'login_required');
  assert.equal(new URL(nobody.location).searchParams.get('state'), silent.checks.expectedState);
  await logIn(browser, (await begin(config, CALLBACK)).url);
  const now = await browser.go(pathOf(silent.url));
  const tokens = await oidc.authorizationCodeGrant(config, new URL(now.location), silent.checks);
  assert.ok(tokens.id_token);
  const shop = await begin(await discovered('shop', 'shop secret'), CALLBACK, { prompt: 'none' });
  assert.equal(errorOf(await browser.go(pathOf(shop.url))), 'consent_required');
  // Asked for a login it gets one, and is not asked for ever.
  const anew = await browser.go(pathOf((await begin(config, CALLBACK, { prompt: 'login' })).url));
  assert.match(anew.location, /^\/login\?/);
  const page = await browser.go(anew.location);
  const entered = await browser.send(page, '/login.do', { username: 'admin', password: cloud.password });
  assert.match((await browser.go(entered.location)).location, /code=/);
});

test('what a client gets wrong is told to it, and it says no for the user; the state comes back', async () => {
  const config = await discovered('shop', 'shop secret');
  const browser = new Browser(cloud.uaaUrl);
  const errorAt = async (more: Record<string, string>) => {
    const { url } = await begin(config, CALLBACK, more);
    const { location } = await browser.go(pathOf(url));
    assert.ok(location.startsWith(CALLBACK), location);
    return new URL(location).searchParams.get('error');
  };
  assert.equal(await errorAt({ response_type: 'token' }), 'unsupported_response_type');
  assert.equal(await errorAt({ code_challenge_method: 'plain' }), 'invalid_request');
  assert.equal(await errorAt({ code_challenge: 'short' }), 'invalid_request');
  assert.equal(await errorAt({ response_type: 'code', request_uri: 'https://shop.example.com/r' }), 'invalid_request');
  await browser.login('admin', cloud.password);
  assert.equal(await errorAt({ scope: 'uaa.admin' }), 'invalid_scope');
  const { url } = await begin(config, CALLBACK);
  const consent = await browser.go(pathOf(url));
  const no = await browser.send(consent, '/oauth/authorize', { user_oauth_approval: 'false' });
  assert.equal(new URL(no.location).searchParams.get('error'), 'access_denied');
  const forged = await browser.go('/oauth/authorize', { request: url.search.slice(1), user_oauth_approval: 'true' });
  assert.equal(forged.status, 403, 'another site may have sent it');
});

test('nobody is sent where no client has said, and nothing that is typed becomes markup', async () => {
  const browser = new Browser(cloud.uaaUrl);
  const ask = (fields: Record<string, string>) =>
    browser.go(`/oauth/authorize?${new URLSearchParams({ response_type: 'code', ...fields }).toString()}`);
  for (const redirect of [
    'https://evil.example.com/',
    `${CALLBACK}/more`,
    'javascript:alert(1)',
    'http://127.0.0.1.evil.example.com/callback',
  ]) {
    const page = await ask({ client_id: 'native', redirect_uri: redirect });
    assert.deepEqual([page.status, page.location], [400, ''], redirect);
  }
  const unknown = await ask({ client_id: '<b>', redirect_uri: CALLBACK });
  assert.equal(unknown.status, 400);
  assert.match(unknown.text, /role="alert">No client with requested id: &lt;b&gt;/);
  const twice = await browser.go(
    `/oauth/authorize?client_id=shop&client_id=native&redirect_uri=${encodeURIComponent(CALLBACK)}`,
  );
  assert.equal(twice.status, 400);
  for (const next of ['https://evil.example.com/', '//evil.example.com', '/logout.do', '/oauth/authorize?a b']) {
    const page = await browser.go(`/login?${new URLSearchParams({ next }).toString()}`);
    const entered = await browser.send(page, '/login.do', { username: 'admin', password: cloud.password });
    assert.equal(entered.location, '/passcode', next);
  }
  const registered = await admin('POST', '/oauth/clients', {
    client_id: 'script',
    authorized_grant_types: ['authorization_code'],
    redirect_uri: ['javascript:alert(1)'],
  });
  assert.equal(registered.status, 400);
});

test('codes: for one client, one redirect, one verifier and one minute', () => {
  let now = 1_000_000;
  const codes = new AuthorizationCodes(() => now);
  const client = { id: 'shop', grants: [], authorities: [], redirectUris: [], autoApprove: false };
  const challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
  const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
  const issue = (more: object = {}) =>
    codes.issue({
      authorization: { client, redirectUri: CALLBACK, namedRedirect: true, scopes: [], prompt: [], ...more },
      userId: 'joe',
      scopes: ['openid'],
      authTime: 1,
    });
  const by = { clientId: 'shop', proven: true, redirectUri: CALLBACK, verifier: undefined };
  assert.equal(codes.redeem(issue(), by).userId, 'joe');
  const invalid = { code: 'invalid_grant' };
  assert.throws(() => codes.redeem(issue(), { ...by, clientId: 'other' }), invalid);
  assert.throws(() => codes.redeem(issue(), { ...by, redirectUri: 'https://x/' }), invalid);
  assert.throws(() => codes.redeem(issue(), { ...by, redirectUri: undefined }), invalid);
  assert.throws(() => codes.redeem(issue(), { ...by, proven: false }), invalid, 'no secret and no PKCE');
  assert.throws(() => codes.redeem(issue(), { ...by, verifier }), invalid, 'a challenge was taken away on the way');
  assert.equal(codes.redeem(issue({ challenge }), { ...by, proven: false, verifier }).userId, 'joe');
  assert.throws(() => codes.redeem(issue({ challenge }), by), invalid);
  assert.throws(() => codes.redeem(issue({ challenge }), { ...by, verifier: `${verifier}x` }), invalid);
  const late = issue();
  now += 60_000;
  assert.throws(() => codes.redeem(late, by), invalid);
  const replayed = issue();
  codes.redeem(replayed, by).issued(['one', 'two']);
  assert.throws(() => codes.redeem(replayed, by), { tokens: ['one', 'two'] });
});

test('redirect URIs are the same character for character, and on the loopback with any port', () => {
  assert.ok(sameRedirect(CALLBACK, CALLBACK));
  assert.ok(sameRedirect(NATIVE, 'http://127.0.0.1:8080/callback'));
  for (const other of [
    'https://127.0.0.1/callback',
    'http://127.0.0.1/callback/',
    'http://localhost/callback',
    'http://u:p@127.0.0.1/callback',
    'http://127.0.0.1/call\nback',
    'http://127.0.0.1/callback?x=1',
  ]) {
    assert.ok(!sameRedirect(NATIVE, other), other);
  }
  assert.ok(!sameRedirect('https://shop.example.com/', 'https://shop.example.com:8443/'));
  assert.equal(
    redirectWith(`${CALLBACK}?from=uaa`, { code: 'a&b', state: undefined }),
    `${CALLBACK}?from=uaa&code=a%26b`,
  );
});
