import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { digestOf } from '#lib/digest.ts';
import { type Answer, type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';
import { parseScopes, readToken, signToken, TOKEN_SECONDS, tokenKey } from './tokens.ts';

/** `team` may do all below `team/` and list; anybody may read `public/`. */
let registry: RegistryHost;

before(async () => {
  registry = await startRegistryHost({
    authorize: ({ username, password, repository, action }) => {
      if (username !== undefined && (username !== 'team' || password !== 't')) return false;
      if (action === 'pull' && repository?.startsWith('public/') === true) return true;
      return username === 'team' && (repository === undefined || repository.startsWith('team/'));
    },
  });
  const layer = await as('team:t', 'POST', `/v2/team/app/blobs/uploads/?digest=${LAYER}`, 'layer');
  assert.equal(layer.status, 201);
});
after(async () => await registry[Symbol.asyncDispose]());

const LAYER = digestOf('layer');

async function as(user: string, method: string, path: string, body?: string): Promise<Answer> {
  return await registry.call(method, path, { user, ...(body === undefined ? {} : { body }) });
}

interface Granted {
  token: string;
  expires_in: number;
  issued_at: string;
}

async function tokenFor(user: string, ...scopes: string[]): Promise<string> {
  const query = new URLSearchParams([['service', 'registry'], ...scopes.map((scope) => ['scope', scope])]);
  const answer = await as(user, 'GET', `/token?${query}`);
  assert.equal(answer.status, 200, answer.body.toString());
  const { token, expires_in: seconds, issued_at: at } = JSON.parse(answer.body.toString()) as Granted;
  assert.equal(seconds, TOKEN_SECONDS);
  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
  return token;
}

test('a challenge leads to a token, and the token to the repository, and to no other', async () => {
  const asked = await registry.call('GET', '/v2/team/app/tags/list');
  assert.equal(asked.status, 401);
  assert.equal(
    asked.headers['www-authenticate'],
    `Bearer realm="https://${registry.host}/token",service="registry",scope="repository:team/app:pull", Basic realm="registry"`,
  );
  const token = await tokenFor('team:t', 'repository:team/app:pull');
  const status = async (method: string, path: string): Promise<number> =>
    (await registry.call(method, path, { token })).status;
  assert.equal(await status('HEAD', `/v2/team/app/blobs/${LAYER}`), 200);
  assert.equal(await status('GET', '/v2/'), 200);
  assert.equal(await status('HEAD', `/v2/team/other/blobs/${LAYER}`), 401);
  assert.equal(await status('GET', '/v2/_catalog'), 401);
  const push = await registry.call('POST', '/v2/team/app/blobs/uploads/', { token });
  assert.equal(push.status, 401);
  assert.match(
    push.headers['www-authenticate'] ?? '',
    /scope="repository:team\/app:pull,push",error="insufficient_scope"/,
  );
});

test('several scopes in one token; what was refused is denied, not asked for again', async () => {
  const token = await tokenFor(
    'team:t',
    'repository:team/app:pull,push repository:private/x:pull',
    'registry:catalog:*',
  );
  assert.equal((await registry.call('POST', '/v2/team/app/blobs/uploads/', { token })).status, 202);
  assert.equal((await registry.call('GET', '/v2/_catalog', { token })).status, 200);
  const denied = await registry.call('GET', '/v2/private/x/tags/list', { token });
  assert.equal(denied.status, 403);
  assert.match(denied.body.toString(), /"DENIED"/);
  assert.equal((await registry.call('DELETE', `/v2/team/app/blobs/${LAYER}`, { token })).status, 401);
  const all = await tokenFor('team:t', 'repository:team/gone:*');
  assert.equal((await registry.call('DELETE', `/v2/team/gone/manifests/none`, { token: all })).status, 404);
});

test('a mount needs a token for both repositories, and the challenge names both', async () => {
  const path = `/v2/team/copy/blobs/uploads/?mount=${LAYER}&from=team/app`;
  const one = await tokenFor('team:t', 'repository:team/copy:pull,push');
  const asked = await registry.call('POST', path, { token: one });
  assert.equal(asked.status, 401);
  const scope = /scope="([^"]+)"/.exec(asked.headers['www-authenticate'] ?? '')?.[1] ?? '';
  assert.equal(scope, 'repository:team/copy:pull,push repository:team/app:pull');
  const both = await tokenFor('team:t', scope);
  assert.equal((await registry.call('POST', path, { token: both })).status, 201);
  const hidden = await tokenFor('team:t', 'repository:team/copy:pull,push', 'repository:private/x:pull');
  const upload = await registry.call('POST', `${path.replace('team/app', 'private/x')}`, { token: hidden });
  assert.equal(upload.status, 202);
});

test('nobody is given what nobody may have, and only there', async () => {
  assert.equal((await registry.call('GET', '/v2/')).status, 401);
  assert.equal((await registry.call('GET', '/v2/public/x/tags/list')).status, 404);
  const token = await tokenFor('', 'repository:public/x:pull,push', 'repository:team/app:pull', 'registry:catalog:*');
  const status = async (method: string, path: string): Promise<number> =>
    (await registry.call(method, path, { token })).status;
  assert.equal(await status('GET', '/v2/public/x/tags/list'), 404);
  assert.equal(await status('POST', '/v2/public/x/blobs/uploads/'), 401);
  assert.equal(await status('GET', '/v2/team/app/tags/list'), 401);
  assert.equal(await status('GET', '/v2/_catalog'), 401);
  assert.equal(await status('GET', '/v2/'), 401);
});

test('the OAuth2 form, and what the endpoint refuses', async () => {
  const form = async (values: Record<string, string>, type = 'application/x-www-form-urlencoded'): Promise<Answer> =>
    await registry.call('POST', '/token', {
      body: new URLSearchParams(values).toString(),
      headers: { 'content-type': type },
    });
  const good = { grant_type: 'password', service: 'registry', username: 'team', password: 't' };
  const given = await form({ ...good, scope: 'repository:team/app:pull' });
  const { access_token: token, scope } = JSON.parse(given.body.toString()) as { access_token: string; scope: string };
  assert.equal(scope, 'repository:team/app:pull');
  assert.equal((await registry.call('HEAD', `/v2/team/app/blobs/${LAYER}`, { token })).status, 200);
  assert.equal((await form({ ...good, password: 'x' })).status, 401);
  assert.equal((await form({ ...good, grant_type: 'refresh_token' })).status, 400);
  assert.equal((await form(good, 'application/json')).status, 415);
  assert.equal((await form({ ...good, scope: 'x'.repeat(70_000) })).status, 413);
  assert.equal((await as('team:wrong', 'GET', '/token')).status, 401);
  assert.equal((await as('team:t', 'GET', '/token?service=another')).status, 400);
  const many = Array.from({ length: 65 }, (_, index) => `repository:r${index}:pull`).join('%20');
  assert.equal((await as('team:t', 'GET', `/token?scope=${many}`)).status, 400);
});

test('tokens that are changed, old, of another key or of another service open nothing', async () => {
  const key = tokenKey('key');
  const claims = { subject: 'team', access: [{ type: 'repository', name: 'a', actions: ['pull'] }] };
  const token = signToken(key, 'registry', claims);
  assert.deepEqual(readToken(key, 'registry', token), claims);
  const [header = '', payload = '', signed = ''] = token.split('.');
  const forged = Buffer.from(payload, 'base64url').toString().replace('"a"', '"b"');
  const none = Buffer.from('{"typ":"JWT","alg":"none"}').toString('base64url');
  const wrong = [
    '',
    'a.b.c',
    `${header}.${payload}`,
    `${none}.${payload}.`,
    `${none}.${payload}.${signed}`,
    `${header}.${Buffer.from(forged).toString('base64url')}.${signed}`,
    signToken(tokenKey('other'), 'registry', claims),
    signToken(key, 'another', claims),
    signToken(key, 'registry', claims, Date.now() - TOKEN_SECONDS * 1000),
    signToken(key, 'registry', claims, Date.now() + 60_000),
  ];
  for (const text of wrong) assert.equal(readToken(key, 'registry', text), undefined, text);
  const refused = await registry.call('GET', '/v2/', { token: 'a.b.c' });
  assert.equal(refused.status, 401);
  assert.match(refused.headers['www-authenticate'] ?? '', /error="invalid_token"/);
});

test('scopes: what is no scope of a registry is left out', () => {
  assert.deepEqual(
    parseScopes(['repository:a/b:pull,fly', 'repository:A:pull repository:a:', 'x', 'registry:catalog:*']),
    [
      { type: 'repository', name: 'a/b', actions: ['pull'] },
      { type: 'registry', name: 'catalog', actions: ['*'] },
    ],
  );
  assert.deepEqual(parseScopes(['repository:a:*']), [
    { type: 'repository', name: 'a', actions: ['pull', 'push', 'delete'] },
  ]);
});
