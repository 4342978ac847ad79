/** Bearer tokens of every kind. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, chmod, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose';
import { createClient } from '#cluster/client/create.ts';
import { createRootCaPublisher } from '#cluster/controllers/root-ca.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { createServiceAccountController } from '#cluster/controllers/service-account.ts';
import { createServiceAccountTokens } from '#cluster/controllers/service-account-token.ts';
import type { KeyPair } from '#lib/certificates.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { type Issuer, startIssuer } from '#testing/oidc-issuer.ts';
import {
  addServiceAccountKey,
  openServiceAccountKeys,
  type ServiceAccountKeys,
} from './authenticators/service-account-keys.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const ACCOUNTS = '/api/v1/namespaces/default/serviceaccounts';
const PODS = '/api/v1/namespaces/default/pods';

describe('API server: tokens', () => {
  let directory: string;
  let fixture: ApiFixture;
  let keys: ServiceAccountKeys;
  let issuer: Issuer;
  let clock = 0;
  const stop = new AbortController();
  let controllers: Awaited<ReturnType<typeof startControllers>>;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sampan-tokens-'));
    keys = await openServiceAccountKeys(join(directory, 'keys'));
    issuer = await startIssuer();
    fixture = await apiFixture({
      now: () => Date.now() + clock,
      serviceAccounts: { issuer: ISSUER, keys },
      oidc: [
        {
          issuer: issuer.url,
          clientId: 'sampan',
          ca: issuer.ca,
          usernameClaim: 'user_name',
          usernamePrefix: 'uaa:',
          groupsClaim: 'scope',
          groupsPrefix: 'uaa:',
          requiredClaims: { zid: 'uaa' },
          algorithms: ['ES256'],
          keyCooldown: 0,
        },
      ],
    });
    const client = createClient(fixture.api.transport({ name: 'controllers', groups: ['system:masters'] }));
    const ca = fixture.authority.certificate;
    controllers = await startControllers(
      [
        createServiceAccountController(),
        createServiceAccountTokens({ sign: keys.sign, ca }),
        createRootCaPublisher(ca),
      ],
      { client, log: () => undefined, signal: stop.signal, now: Date.now },
    );
    assert.equal((await fixture.call('POST', ACCOUNTS, { body: { metadata: { name: 'robot' } } })).status, 201);
    const made = await fixture.kubectl([
      'create',
      'clusterrolebinding',
      'robot',
      '--clusterrole=cluster-admin',
      '--serviceaccount=default:robot',
    ]);
    assert.equal(made.code, 0, made.err);
  });
  after(async () => {
    stop.abort();
    await controllers.close();
    await fixture.close();
    await issuer.close();
    await rm(directory, { recursive: true });
  });

  const request = async (spec: object, name = 'robot', as?: KeyPair) =>
    fixture.call('POST', `${ACCOUNTS}/${name}/token`, { body: { spec }, ...(as === undefined ? {} : { as }) });
  const tokenOf = async (spec: object) => {
    const { json, status } = await request(spec);
    assert.equal(status, 201, json.message);
    return (json['status'] as { token: string }).token;
  };
  const statusWith = async (token: string, path = PODS) =>
    (await fixture.call('GET', path, { as: null, headers: { authorization: `Bearer ${token}` } })).status;
  const review = async (token: string, audiences?: string[]) => {
    const spec = { token, ...(audiences === undefined ? {} : { audiences }) };
    const { json } = await fixture.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: { spec } });
    return json['status'] as {
      authenticated?: boolean;
      user: { username?: string; extra?: object };
      audiences?: string[];
      error?: string;
    };
  };
  const untilObject = async (path: string, selector: string, holds: (object: Record<string, unknown>) => boolean) => {
    const events = await fixture.watch(`${path}?watch=1&fieldSelector=${encodeURIComponent(selector)}`);
    for await (const { object } of events) if (holds(object)) return object;
    throw new Error(`${path} ${selector}: the watch ended`);
  };

  test('kubectl create token: the token is the account', async () => {
    const made = await fixture.kubectl(['create', 'token', 'robot', '--duration=15m']);
    assert.equal(made.code, 0, made.err);
    const token = made.out.trim();
    const claims = decodeJwt(token);
    assert.deepEqual([claims.iss, claims.aud, claims.sub], [ISSUER, [ISSUER], 'system:serviceaccount:default:robot']);
    assert.equal((claims.exp ?? 0) - (claims.iat ?? 0), 900);
    const who = await fixture.kubectl(['auth', 'whoami', '-o', 'json'], { as: { token } });
    const { userInfo } = (JSON.parse(who.out) as { status: { userInfo: Record<string, unknown> } }).status;
    assert.equal(userInfo['username'], 'system:serviceaccount:default:robot');
    assert.deepEqual(userInfo['groups'], [
      'system:serviceaccounts',
      'system:serviceaccounts:default',
      'system:authenticated',
    ]);
    assert.equal(await statusWith(token), 200);
    assert.equal(await statusWith(`${token.slice(0, -4)}AAAA`), 401);
  });

  test('audiences, durations and unknown accounts', async () => {
    const vault = await tokenOf({ audiences: ['vault'] });
    assert.equal(await statusWith(vault), 401);
    assert.match((await review(vault)).error ?? '', /token audiences \["vault"\] is invalid for the target audiences/);
    const good = await review(vault, ['vault', 'other']);
    assert.deepEqual([good.authenticated, good.audiences], [true, ['vault']]);
    const short = await request({ expirationSeconds: 60 });
    assert.equal(short.status, 422);
    assert.match(
      short.json.message,
      /spec\.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes/,
    );
    assert.equal((await request({}, 'nobody')).json.message, 'serviceaccounts "nobody" not found');
    assert.equal((await review('nonsense')).error, 'invalid bearer token');
  });

  test('a token ends with its time', async () => {
    const asked = await request({ expirationSeconds: 600 });
    const { token, expirationTimestamp } = asked.json['status'] as { token: string; expirationTimestamp: string };
    assert.match(expirationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(await statusWith(token), 200);
    clock = 601_000;
    assert.equal(await statusWith(token), 401);
    clock = 0;
  });

  test('a token ends with its pod, its secret and its account', async () => {
    const spec = { serviceAccountName: 'robot', nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] };
    const pod = await fixture.call('POST', PODS, { body: { metadata: { name: 'bound' }, spec } });
    assert.equal(pod.status, 201, pod.json.message);
    const uid = pod.json.metadata.uid ?? '';
    const ref = { apiVersion: 'v1', kind: 'Pod', name: 'bound', uid };
    const token = await tokenOf({ boundObjectRef: ref });
    assert.deepEqual((await review(token)).user.extra, {
      'authentication.kubernetes.io/credential-id': [`JTI=${decodeJwt(token).jti}`],
      'authentication.kubernetes.io/pod-name': ['bound'],
      'authentication.kubernetes.io/pod-uid': [uid],
      'authentication.kubernetes.io/node-name': ['n1'],
      'authentication.kubernetes.io/node-uid': [''],
    });
    assert.equal((await request({ boundObjectRef: { ...ref, uid: 'other' } })).status, 409);
    const foreign = await request({ boundObjectRef: ref }, 'default');
    assert.match(
      foreign.json.message,
      /cannot bind token for serviceaccount "default" to pod running with different serviceaccount name/,
    );
    await fixture.call('DELETE', `${PODS}/bound`, { body: { gracePeriodSeconds: 0 } });
    assert.equal(await statusWith(token), 401);
    await fixture.call('POST', PODS, { body: { metadata: { name: 'bound' }, spec } });
    assert.equal(await statusWith(token), 401, 'another pod of the same name is another pod');

    await fixture.call('POST', '/api/v1/namespaces/default/secrets', { body: { metadata: { name: 'key' } } });
    const bySecret = await tokenOf({ boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name: 'key' } });
    assert.equal(await statusWith(bySecret, '/api'), 200);
    await fixture.call('DELETE', '/api/v1/namespaces/default/secrets/key');
    assert.equal(await statusWith(bySecret, '/api'), 401);

    await fixture.call('POST', ACCOUNTS, { body: { metadata: { name: 'brief' } } });
    const answer = await request({}, 'brief');
    const brief = (answer.json['status'] as { token: string }).token;
    assert.equal(await statusWith(brief, '/api'), 200);
    await fixture.call('DELETE', `${ACCOUNTS}/brief`);
    await fixture.call('POST', ACCOUNTS, { body: { metadata: { name: 'brief' } } });
    assert.equal(await statusWith(brief, '/api'), 401);
  });

  test('a node gets tokens for its own pods only', async () => {
    const node = await fixture.issue('system:node:n1', ['system:nodes']);
    const other = await fixture.issue('system:node:n2', ['system:nodes']);
    const { json } = await fixture.call('GET', `${PODS}/bound`);
    const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'bound', uid: json.metadata.uid };
    assert.equal((await request({ boundObjectRef }, 'robot', node)).status, 201);
    assert.equal((await request({ boundObjectRef }, 'robot', other)).status, 403);
    assert.match((await request({}, 'robot', node)).json.message, /node "n1" can only request tokens bound to a pod/);
    assert.equal((await request({ boundObjectRef }, 'default', node)).status, 403);
  });

  test('pods get the token of their account, and what is needed to use it', async () => {
    await untilObject(
      '/api/v1/namespaces/default/configmaps',
      'metadata.name=kube-root-ca.crt',
      ({ data }) => data !== undefined,
    );
    const spec = {
      containers: [
        { name: 'c', image: 'i' },
        { name: 'd', image: 'i' },
      ],
    };
    const { json } = await fixture.call('POST', PODS, { body: { metadata: { name: 'auto' }, spec } });
    const made = json['spec'] as {
      serviceAccountName: string;
      volumes: { name: string; projected: { sources: object[] } }[];
      containers: { volumeMounts: { mountPath: string; readOnly: boolean }[] }[];
    };
    assert.equal(made.serviceAccountName, 'default');
    assert.match(made.volumes[0]?.name ?? '', /^kube-api-access-[0-9a-z]{5}$/);
    assert.deepEqual(
      made.volumes[0]?.projected.sources.map((source) => Object.keys(source)[0]),
      ['serviceAccountToken', 'configMap', 'downwardAPI'],
    );
    for (const { volumeMounts } of made.containers)
      assert.deepEqual(
        volumeMounts.map(({ mountPath, readOnly }) => [mountPath, readOnly]),
        [['/var/run/secrets/kubernetes.io/serviceaccount', true]],
      );
    const without = await fixture.call('POST', PODS, {
      body: { metadata: { name: 'plain' }, spec: { ...spec, automountServiceAccountToken: false } },
    });
    assert.equal((without.json['spec'] as { volumes?: unknown }).volumes, undefined);
    const unknown = await fixture.call('POST', PODS, {
      body: { metadata: { name: 'lost' }, spec: { ...spec, serviceAccountName: 'nobody' } },
    });
    assert.deepEqual(
      [unknown.status, unknown.json.message],
      [
        403,
        'pods "lost" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found',
      ],
    );
    await fixture.call('POST', ACCOUNTS, {
      body: {
        metadata: { name: 'puller' },
        imagePullSecrets: [{ name: 'registry' }],
        automountServiceAccountToken: false,
      },
    });
    const pulling = await fixture.call('POST', PODS, {
      body: { metadata: { name: 'pulling' }, spec: { ...spec, serviceAccountName: 'puller' } },
    });
    assert.deepEqual((pulling.json['spec'] as { imagePullSecrets: object }).imagePullSecrets, [{ name: 'registry' }]);
    assert.equal((pulling.json['spec'] as { volumes?: unknown }).volumes, undefined);
    // Made in one breath with its namespace.
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'fresh' } } });
    const early = await fixture.call('POST', '/api/v1/namespaces/fresh/pods', {
      body: { metadata: { name: 'early' }, spec },
    });
    assert.equal(early.status, 201, early.json.message);
  });

  test('a Secret of the old kind is filled, is the account, and ends when it is deleted', async () => {
    const secrets = '/api/v1/namespaces/default/secrets';
    const body = (name: string, account: string) => ({
      metadata: { name, annotations: { 'kubernetes.io/service-account.name': account } },
      type: 'kubernetes.io/service-account-token',
    });
    await fixture.call('POST', secrets, { body: body('old', 'robot') });
    const filled = await untilObject(secrets, 'metadata.name=old', ({ data }) => data !== undefined);
    const data = filled['data'] as Record<string, string>;
    const token = Buffer.from(data['token'] ?? '', 'base64').toString();
    assert.equal(Buffer.from(data['ca.crt'] ?? '', 'base64').toString(), fixture.authority.certificate);
    assert.equal(await statusWith(token), 200);
    await fixture.call('DELETE', `${secrets}/old`);
    assert.equal(await statusWith(token), 401);
    const orphan = fixture.watch(`${secrets}?watch=1&fieldSelector=metadata.name%3Dorphan`);
    await fixture.call('POST', secrets, { body: body('orphan', 'nobody') });
    for await (const { type } of await orphan) if (type === 'DELETED') break;
  });

  test('relying parties find the keys; a new key signs and the old one still verifies', async () => {
    const robot = await tokenOf({});
    const asRobot = { as: null, headers: { authorization: `Bearer ${robot}` } };
    const found = await fixture.call('GET', '/.well-known/openid-configuration', asRobot);
    assert.deepEqual([found.json['issuer'], found.json['jwks_uri']], [ISSUER, `${ISSUER}/openid/v1/jwks`]);
    assert.equal((await fixture.call('GET', '/openid/v1/jwks', { as: null })).status, 403);
    const { text, headers } = await fixture.call('GET', '/openid/v1/jwks', asRobot);
    assert.equal(headers['content-type'], 'application/jwk-set+json');
    await jwtVerify(robot, createLocalJWKSet(JSON.parse(text) as JSONWebKeySet), { issuer: ISSUER, audience: ISSUER });
    const path = join(directory, 'keys');
    await addServiceAccountKey(path);
    const rotated = await openServiceAccountKeys(path);
    assert.equal(rotated.jwks.keys.length, 2);
    const fresh = await rotated.sign({ iss: ISSUER });
    await assert.rejects(jwtVerify(fresh, createLocalJWKSet(keys.jwks)));
    for (const token of [robot, fresh]) await jwtVerify(token, createLocalJWKSet(rotated.jwks), { issuer: ISSUER });
    const [file = ''] = await readdir(path);
    assert.equal((await stat(join(path, file))).mode & 0o777, 0o600);
    await chmod(join(path, file), 0o644);
    await assert.rejects(openServiceAccountKeys(path), /others may read it; chmod 600 it/);
  });

  test('bootstrap tokens', async () => {
    const token = 'abcdef.0123456789abcdef';
    const secret = (more: object = {}) => ({
      metadata: { name: 'bootstrap-token-abcdef', namespace: 'kube-system' },
      type: 'bootstrap.kubernetes.io/token',
      stringData: {
        'token-id': 'abcdef',
        'token-secret': '0123456789abcdef',
        'usage-bootstrap-authentication': 'true',
        'auth-extra-groups': 'system:bootstrappers:workers',
        expiration: new Date(Date.now() + 60_000).toISOString(),
        ...more,
      },
    });
    const path = '/api/v1/namespaces/kube-system/secrets';
    assert.equal((await fixture.call('POST', path, { body: secret() })).status, 201);
    const { json } = await fixture.call('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
      body: {},
      as: null,
      headers: { authorization: `Bearer ${token}` },
    });
    assert.deepEqual((json['status'] as { userInfo: unknown }).userInfo, {
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:bootstrappers:workers', 'system:authenticated'],
    });
    assert.equal(await statusWith('abcdef.0123456789abcdeX', '/api'), 401);
    clock = 61_000;
    assert.equal(await statusWith(token, '/api'), 401);
    clock = 0;
    await fixture.call('PUT', `${path}/bootstrap-token-abcdef`, {
      body: secret({ 'usage-bootstrap-authentication': 'false' }),
    });
    assert.equal(await statusWith(token, '/api'), 401);
  });

  test('users of an OpenID Connect issuer, and its new keys', async () => {
    const claims = { user_name: 'marge', scope: ['cloud_controller.read'], zid: 'uaa' };
    const who = async (token: string) => {
      const answer = await fixture.call('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
        body: {},
        as: null,
        headers: { authorization: `Bearer ${token}` },
      });
      return answer.status === 201 ? (answer.json['status'] as { userInfo: unknown }).userInfo : answer.status;
    };
    const marge = { username: 'uaa:marge', groups: ['uaa:cloud_controller.read', 'system:authenticated'] };
    assert.deepEqual(await who(await issuer.sign(claims)), marge);
    assert.equal(await who(await issuer.sign({ ...claims, zid: 'other' })), 401);
    assert.equal(await who(await issuer.sign(claims, { audience: 'another' })), 401);
    assert.equal(await who(await issuer.sign(claims, { expires: '-1m' })), 401);
    assert.equal(await who(await issuer.sign({ scope: [], zid: 'uaa' })), 401);
    const asked = issuer.asked;
    assert.deepEqual(await who(await issuer.sign(claims)), marge);
    assert.equal(issuer.asked, asked, 'the keys are remembered');
    await issuer.rotate();
    assert.deepEqual(await who(await issuer.sign(claims)), marge);
  });
});
