/** Logins by a real directory: Debian's slapd. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Slapd, startSlapd } from '#testing/slapd.ts';
import type { Json } from '../../../cloud-controller/api.ts';
import { startTestCloud, type TestCloud } from '../../../cloud-controller/cloud.fixture.ts';
import { users } from '../../../resources/types.ts';
import { putUser, userGuid } from '../../users.ts';

const person = (uid: string, password: string) => `dn: uid=${uid},ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ${uid}
cn: ${uid}
sn: Of Example
givenName: ${uid}
mail: ${uid}@example.org
userPassword: ${password}
`;
const group = (name: string, member: string, description: string) => `dn: cn=${name},ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: ${name}
member: ${member}
description: ${description}
`;
const unit = (name: string) => `dn: ou=${name},dc=example,dc=org\nobjectClass: organizationalUnit\nou: ${name}\n`;
const ENTRIES = [
  ...['people', 'groups'].map(unit),
  ...['ann', 'bob', 'eve(a*b)'].map((uid) => person(uid, `secret of ${uid}`)),
  group('auditors', 'uid=ann,ou=people,dc=example,dc=org', 'cloud_controller.global_auditor'),
  group('all auditors', 'cn=auditors,ou=groups,dc=example,dc=org', 'audit.all'),
].join('\n');

let cloud: TestCloud;
let slapd: Slapd;
let path: string;

before(async () => {
  cloud = await startTestCloud();
  slapd = await startSlapd(ENTRIES);
  const made = await uaa('POST', '/identity-providers', provider());
  assert.equal(made.status, 201, made.text);
  assert.ok(!made.text.includes(slapd.rootPassword), 'the password does not come out again');
  path = `/identity-providers/${String(made.body.id)}`;
});
after(async () => {
  await cloud?.close();
  await slapd?.[Symbol.asyncDispose]();
});

const provider = (config: Json = {}, rest: Json = {}): Json => ({
  ...{ type: 'ldap', name: 'The directory', originKey: 'ldap' },
  config: {
    baseUrl: slapd.url,
    bindUserDn: slapd.rootDn,
    bindPassword: slapd.rootPassword,
    userSearchBase: 'ou=people,dc=example,dc=org',
    userSearchFilter: 'uid={0}',
    groupSearchBase: 'ou=groups,dc=example,dc=org',
    groupSearchFilter: 'member={0}',
    ldapGroupFile: 'ldap/ldap-groups-map-to-scopes.xml',
    maxGroupSearchDepth: 2,
    ...config,
  },
  ...rest,
});

async function uaa(method: string, at: string, body?: Json) {
  const response = await fetch(`${cloud.uaaUrl}${at}`, {
    method,
    headers: { authorization: `bearer ${cloud.token}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  return { status: response.status, text, body: (text === '' ? {} : JSON.parse(text)) as Json };
}

async function change(config: Json, rest: Json = {}): Promise<void> {
  const { status, text } = await uaa('PUT', path, provider(config, rest));
  assert.equal(status, 200, text);
}

/** @param query  of the token endpoint: where cf says which origin it means */
async function login(username: string, password: string, query = ''): Promise<{ status: number; body: Json }> {
  const response = await fetch(`${cloud.uaaUrl}/oauth/token${query}`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'password', username, password }),
  });
  return { status: response.status, body: (await response.json()) as Json };
}

const scopesOf = ({ body }: { body: Json }): string[] => String(body.scope).split(' ');

test('a name and password of the directory let in, as a user of its origin; others do not', async () => {
  const entered = await login('ann', 'secret of ann');
  assert.equal(entered.status, 200, JSON.stringify(entered.body));
  const { spec } = await cloud.plane.client.get(users, userGuid('ann', 'ldap'));
  assert.deepEqual(
    [spec.origin, spec.username, spec.email, spec.givenName, spec.familyName],
    ['ldap', 'ann', 'ann@example.org', 'ann', 'Of Example'],
  );
  assert.match(spec.externalId ?? '', /^[0-9a-f-]{36}$/, 'what stays when it is renamed');
  for (const [name, password] of [
    ['ann', 'secret of bob'],
    ['ann', ''],
    ['nobody', 'secret of ann'],
    ['*', 'secret of ann'],
    ['an*', 'secret of ann'],
    ['ann)(uid=*', 'secret of ann'],
  ] as const)
    assert.equal((await login(name, password)).status, 401, `${name} with ${password}`);
  assert.equal((await login('eve(a*b)', 'secret of eve(a*b)')).status, 200);
});

test('groups, and groups of groups, are scopes as they are mapped, until the directory says otherwise', async () => {
  const mapping = (externalGroup: string, displayName: string) => ({ externalGroup, displayName, origin: 'ldap' });
  for (const one of [
    mapping('CN=Auditors, OU=groups, DC=example, DC=org', 'cloud_controller.global_auditor'),
    mapping('cn=all auditors,ou=groups,dc=example,dc=org', 'scim.read'),
  ])
    assert.equal((await uaa('POST', '/Groups/External', one)).status, 201);
  const given = scopesOf(await login('ann', 'secret of ann'));
  assert.ok(given.includes('cloud_controller.global_auditor') && given.includes('scim.read'), given.join(' '));
  const others = scopesOf(await login('bob', 'secret of bob'));
  assert.ok(!others.includes('cloud_controller.global_auditor') && !others.includes('scim.read'), others.join(' '));
  await change({ maxGroupSearchDepth: 1 });
  assert.ok(!scopesOf(await login('ann', 'secret of ann')).includes('scim.read'));
  await change({ ldapGroupFile: 'ldap/ldap-groups-as-scopes.xml', groupRoleAttribute: 'description' });
  assert.ok((await cloud.plane.client.get(users, userGuid('ann', 'ldap'))).spec.externalGroups?.length);
  await login('ann', 'secret of ann');
  const { spec } = await cloud.plane.client.get(users, userGuid('ann', 'ldap'));
  assert.deepEqual(spec.externalGroups, ['audit.all', 'cloud_controller.global_auditor']);
  await change({ ldapGroupFile: 'ldap/ldap-groups-null.xml' });
  assert.ok(!scopesOf(await login('ann', 'secret of ann')).includes('cloud_controller.global_auditor'));
  await change({});
});

test('by TLS from the beginning, or from StartTLS on, with a certificate that is checked', async () => {
  for (const config of [
    { baseUrl: slapd.tlsUrl, sslCertificate: slapd.authorities },
    { tlsConfiguration: 'simple', sslCertificate: slapd.authorities },
  ]) {
    await change(config);
    assert.equal((await login('bob', 'secret of bob')).status, 200, JSON.stringify(config));
  }
  for (const config of [{ baseUrl: slapd.tlsUrl }, { tlsConfiguration: 'simple' }]) {
    await change(config);
    const refused = await login('bob', 'secret of bob');
    assert.equal(refused.status, 401);
    assert.match(String(refused.body.error_description), /^The directory cannot be asked at the moment/);
  }
  await change({});
});

test('our own users come first, and a client says whose it means', async () => {
  await putUser(cloud.plane.client, { username: 'bob', password: 'our bob', groups: [] });
  const origin = async (password: string, query = ''): Promise<unknown> => {
    const { status, body } = await login('bob', password, query);
    if (status !== 200) return status;
    return JSON.parse(Buffer.from(String(body.access_token).split('.')[1] ?? '', 'base64url').toString()).origin;
  };
  const hint = (of: string) => `?${new URLSearchParams({ login_hint: JSON.stringify({ origin: of }) }).toString()}`;
  assert.equal(await origin('our bob'), 'uaa');
  assert.equal(await origin('secret of bob'), 'ldap');
  assert.equal(await origin('our bob', hint('ldap')), 401);
  assert.equal(await origin('secret of bob', hint('uaa')), 401);
  assert.equal(await origin('secret of bob', hint('ldap')), 'ldap');
  assert.equal(await origin('secret of bob', '?login_hint=x'), 400);
  const nowhere = await login('bob', 'secret of bob', hint('nowhere'));
  assert.equal(nowhere.status, 401);
  // cf knows this sentence, and says that the origin is invalid.
  assert.match(
    String(nowhere.body.error_description),
    /^The origin provided in the login_hint does not match an active/,
  );
});

test('who may come is said by the provider: not by everybody, and not when it is turned off', async () => {
  await change({ addShadowUserOnLogin: false });
  assert.equal((await login('ann', 'secret of ann')).status, 200, 'she was here before');
  await cloud.plane.client.delete(users, userGuid('ann', 'ldap'));
  assert.equal((await login('ann', 'secret of ann')).status, 403);
  const { body } = await login('bob', 'secret of bob');
  await change({}, { active: false });
  assert.equal((await login('bob', 'secret of bob')).status, 401);
  const refreshed = await fetch(`${cloud.uaaUrl}/oauth/token`, {
    method: 'POST',
    headers: { authorization: 'Basic Y2Y6' },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: String(body.refresh_token) }),
  });
  assert.equal(refreshed.status, 401, 'what it let in before ends too');
  await change({});
});

test('what cannot be done, or would not be safe, is refused when it is said', async () => {
  for (const [config, message] of [
    [{ baseUrl: 'ldap://directory.example.org' }, /passwords would go in clear/],
    [{ baseUrl: 'http://127.0.0.1' }, /baseUrl .* must be ldap:/],
    [{ skipSSLVerification: true }, /certificates are always checked/],
    [{ ldapProfileFile: 'ldap/ldap-simple-bind.xml' }, /ldapProfileFile/],
    [{ userSearchFilter: 'uid=ann' }, /must be a filter with \{0\} in it/],
    [{ userSearchFilter: '(uid={0}' }, /must be a filter/],
    [{ maxGroupSearchDepth: 100 }, /must be 1 to 10/],
    [{ sslCertificate: 'x' }, /must be a certificate in PEM/],
    [{ groupRoleAttribute: 'a)(b' }, /it is no attribute/],
  ] as [Json, RegExp][]) {
    const { status, text } = await uaa('PUT', path, provider(config));
    assert.equal(status, 400, text);
    assert.match(text, message);
  }
});

test('a directory that is gone is said, and keeps nobody of our own out', async () => {
  await slapd.kill();
  const gone = await login('ann', 'secret of ann');
  assert.equal(gone.status, 401);
  assert.match(String(gone.body.error_description), /cannot be asked at the moment/);
  assert.equal((await login('bob', 'our bob')).status, 200);
});
