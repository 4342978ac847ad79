import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startTestCloud, type TestCloud } from '../../cloud-controller/cloud.fixture.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { systemNamespace } from '../../resources/types.ts';
import { Browser } from './browser.fixture.ts';
import { Passcodes } from './passcodes.ts';
import { Sessions } from './sessions.ts';

let cloud: TestCloud;

before(async () => {
  cloud = await startTestCloud();
});
after(() => cloud?.close());

const redeem = (passcode: string) =>
  fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'password', passcode }),
  });

test('cf login --sso: the prompt says where, the page shows a code, and the code is good for one login', async () => {
  const info = (await (await fetch(`${cloud.uaaUrl}/login`, { headers: { accept: 'application/json' } })).json()) as {
    prompts: Record<string, string[]>;
  };
  assert.match(String(info.prompts['passcode']?.[1]), /Get one at https:\/\/\S+\/passcode/);
  const browser = new Browser(cloud.uaaUrl);
  const away = await browser.go('/passcode');
  assert.deepEqual([away.status, away.headers.get('location')], [303, '/login']);
  const page = await browser.go('/login');
  assert.match(String(page.headers.get('content-security-policy')), /default-src 'none'.*frame-ancestors 'none'/);
  assert.doesNotMatch(page.text, /<script/);
  const entered = await browser.login('admin', cloud.password);
  assert.deepEqual([entered.status, entered.headers.get('location')], [303, '/passcode']);
  const shown = await browser.go('/passcode');
  assert.equal(shown.headers.get('cache-control'), 'no-store');
  const code = /class="code">([A-Z0-9]{12})</.exec(shown.text)?.[1] ?? '';
  const granted = await redeem(code.toLowerCase());
  assert.equal(granted.status, 200);
  const { access_token: token } = (await granted.json()) as { access_token: string };
  assert.equal((await cloud.call('GET', '/v3/organizations', undefined, { token })).status, 200);
  assert.equal((await redeem(code)).status, 401, 'it is used up');
  assert.equal((await redeem('AAAAAAAAAAAA')).status, 401);
  await browser.go('/logout.do', { token: await browser.form('/passcode') });
  assert.equal((await browser.go('/passcode')).status, 303);
});

test('a wrong password is told on the page, what is typed is no markup, and guessing is slowed down', async () => {
  const browser = new Browser(cloud.uaaUrl);
  const wrong = await browser.login('admin', 'nope');
  assert.equal(wrong.status, 401);
  assert.match(wrong.text, /role="alert">Bad credentials/);
  assert.equal((await browser.go('/passcode')).status, 303);
  const markup = '<b>&';
  for (let attempt = 0; attempt < 5; attempt++) assert.doesNotMatch((await browser.login(markup, 'x')).text, /<b>/);
  assert.match((await browser.login(markup, 'x')).text, /locked because of too many failed attempts/);
});

test('a form without the token of its own page is refused: another site may have sent it', async () => {
  const browser = new Browser(cloud.uaaUrl);
  await browser.form();
  const forged = { username: 'admin', password: cloud.password };
  assert.equal((await browser.go('/login.do', forged)).status, 403);
  assert.equal((await browser.go('/login.do', { ...forged, token: 'x'.repeat(32) })).status, 403);
  assert.equal((await new Browser(cloud.uaaUrl).go('/login.do', { ...forged, token: '' })).status, 403);
});

test('who is logged in with a browser is so after a restart, and who has logged out is not', async () => {
  const [browser, gone] = [new Browser(cloud.uaaUrl), new Browser(cloud.uaaUrl)];
  for (const one of [browser, gone]) assert.equal((await one.login('admin', cloud.password)).status, 303);
  const kept = new Map(gone.cookies);
  await gone.go('/logout.do', { token: await gone.form('/logout.do') });
  await cloud.restart();
  for (const [cookies, status] of [
    [browser.cookies, 200],
    [kept, 303],
  ] as const) {
    const again = new Browser(cloud.uaaUrl);
    for (const [name, value] of cookies) again.cookies.set(name, value);
    assert.equal((await again.go('/passcode')).status, status);
  }
});

test('a code is good after a restart, once however many come with it at once, and its Secret tells nobody', async () => {
  const browser = new Browser(cloud.uaaUrl);
  assert.equal((await browser.login('admin', cloud.password)).status, 303);
  const shown = await browser.go('/passcode');
  const code = /class="code">([A-Z0-9]{12})</.exec(shown.text)?.[1] ?? '';
  const { items } = await cloud.plane.client.list(secrets, { namespace: systemNamespace });
  assert.ok(items.some(({ metadata }) => metadata.name.startsWith('uaa-passcode-')));
  assert.ok(!JSON.stringify(items).includes(code));
  assert.ok(!JSON.stringify(items).includes(Buffer.from(code).toString('base64')));
  await cloud.restart();
  const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await redeem(code)).status));
  assert.deepEqual(statuses.sort(), [200, 401, 401, 401, 401]);
});

test('of one user there are five codes at most: the oldest goes first', async () => {
  let now = 0;
  const passcodes = new Passcodes(cloud.plane.client, () => now++);
  const codes: string[] = [];
  for (let count = 0; count < 6; count++) codes.push(await passcodes.issue('ann'));
  const another = await passcodes.issue('bob');
  assert.equal(await passcodes.redeem(codes[0] ?? ''), undefined);
  for (const code of codes.slice(1)) assert.equal(await passcodes.redeem(code), 'ann');
  assert.equal(await passcodes.redeem(another), 'bob');
  for (const nonsense of ['', '../../x', 'A'.repeat(12), 'A'.repeat(100_000)])
    assert.equal(await passcodes.redeem(nonsense), undefined);
});

test('sessions and codes end by themselves, and leave nothing', async () => {
  let now = 1_000;
  const { client } = cloud.plane;
  const sessions = new Sessions(client, () => now);
  const passcodes = new Passcodes(client, () => now);
  const [session, code] = [await sessions.open('joe'), await passcodes.issue('joe')];
  assert.match(code, /^[A-HJKMNP-TV-Z2-9]{12}$/);
  now += 5 * 60_000;
  assert.equal(await passcodes.redeem(code), undefined);
  const left = await passcodes.issue('joe');
  await Promise.all([sessions.approve(session, 'shop', ['a']), sessions.approve(session, 'shop', ['b'])]);
  const found = await sessions.find(session);
  assert.deepEqual([found?.userId, [...(found?.approved.get('shop') ?? [])].sort()], ['joe', ['a', 'b']]);
  const count = async () => {
    const { items } = await client.list(secrets, { namespace: systemNamespace });
    assert.ok(!JSON.stringify(items.map(({ metadata }) => metadata)).includes(session), 'a name tells no cookie');
    return items.filter(({ metadata }) => /^uaa-(session|passcode)-/.test(metadata.name)).length;
  };
  const before = await count();
  now += 25 * 60_000;
  assert.equal(await sessions.find(session), undefined);
  await Promise.all([sessions.sweep(), passcodes.sweep()]);
  assert.equal(await count(), before - 2, 'those of others are not over');
  assert.equal(await passcodes.redeem(left), undefined);
});
