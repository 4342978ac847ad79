/** Roles, as stock kubectl and raw requests see them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createClient } from '#cluster/client/create.ts';
import { createClusterRoleAggregation } from '#cluster/controllers/cluster-role-aggregation.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import type { KeyPair } from '#lib/certificates.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const PODS = '/api/v1/namespaces/default/pods';
const MERGE = { 'content-type': 'application/merge-patch+json' };

describe('API server: roles', () => {
  let fixture: ApiFixture;
  let jane: KeyPair;
  const stop = new AbortController();
  let controllers: Awaited<ReturnType<typeof startControllers>>;
  before(async () => {
    fixture = await apiFixture();
    jane = await fixture.issue('jane', ['dev']);
    const client = createClient(fixture.api.transport({ name: 'controllers', groups: ['system:masters'] }));
    const log = () => undefined;
    controllers = await startControllers([createClusterRoleAggregation()], {
      client,
      log,
      signal: stop.signal,
      now: Date.now,
    });
  });
  after(async () => {
    stop.abort();
    await controllers.close();
    await fixture.close();
  });

  const as = (who: KeyPair, method: string, path: string, body?: unknown, headers = {}) =>
    fixture.call(method, path, { as: who, ...(body === undefined ? {} : { body }), headers });
  const kubectl = async (...args: string[]) => {
    const { code, out, err } = await fixture.kubectl(args);
    assert.equal(code, 0, err);
    return out;
  };

  test('a role and its binding, made by kubectl, decide at once', async () => {
    assert.equal((await as(jane, 'GET', PODS)).status, 403);
    await kubectl('create', 'role', 'reader', '--verb=get,list', '--resource=pods,pods/log');
    await kubectl('create', 'rolebinding', 'reader', '--role=reader', '--user=jane');
    assert.equal((await as(jane, 'GET', PODS)).status, 200);
    assert.equal((await as(jane, 'GET', '/api/v1/namespaces/kube-system/pods')).status, 403);
    const everywhere = await as(jane, 'GET', '/api/v1/pods');
    assert.equal(
      everywhere.json.message,
      'pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope',
    );
    await kubectl('delete', 'rolebinding', 'reader');
    assert.equal((await as(jane, 'GET', PODS)).status, 403);
  });

  test('a list or a watch of one object, by its name, is allowed by a rule for that name', async () => {
    await kubectl('create', 'configmap', 'shown', '--from-literal=a=b');
    await kubectl('create', 'role', 'shown', '--verb=list,watch', '--resource=configmaps', '--resource-name=shown');
    await kubectl('create', 'rolebinding', 'shown', '--role=shown', '--user=jane');
    const maps = '/api/v1/namespaces/default/configmaps';
    const own = await as(jane, 'GET', `${maps}?fieldSelector=metadata.name%3Dshown`);
    assert.deepEqual([own.status, (own.json['items'] as unknown[]).length], [200, 1]);
    const other = await as(jane, 'GET', `${maps}?fieldSelector=metadata.name%3Dhidden`);
    assert.match(other.json.message ?? '', /^configmaps "hidden" is forbidden: User "jane" cannot list resource/);
    for (const selector of ['metadata.name!%3Dshown', 'metadata.namespace%3Ddefault', ''])
      assert.equal((await as(jane, 'GET', `${maps}?fieldSelector=${selector}`)).status, 403, selector);
  });

  test('kubectl auth can-i, --list and whoami', async () => {
    await kubectl('create', 'clusterrole', 'named', '--verb=get', '--resource=secrets', '--resource-name=one');
    await kubectl('create', 'rolebinding', 'named', '--clusterrole=named', '--group=dev');
    const canI = async (...args: string[]) =>
      (await fixture.kubectl(['auth', 'can-i', ...args], { as: jane })).out.trim();
    assert.equal(await canI('get', 'secrets/one'), 'yes');
    assert.equal(await canI('get', 'secrets/two'), 'no');
    assert.equal(await canI('get', '/version'), 'yes');
    assert.equal(await canI('get', '/metrics'), 'no');
    const list = await fixture.kubectl(['auth', 'can-i', '--list'], { as: jane });
    assert.match(list.out, /^secrets +\[\] +\[one\] +\[get\]$/m);
    assert.match(list.out, /^selfsubjectaccessreviews\.authorization\.k8s\.io +\[\] +\[\] +\[create\]$/m);
    assert.match(list.out, /^ +\[\/version\/?\] +\[\] +\[get\]$/m);
    const me = await fixture.kubectl(['auth', 'whoami', '-o', 'json'], { as: jane });
    assert.deepEqual((JSON.parse(me.out) as { status: unknown }).status, {
      userInfo: { username: 'jane', groups: ['dev', 'system:authenticated'] },
    });
    assert.equal((await kubectl('auth', 'can-i', 'get', 'secrets/one', '--as=jane', '--as-group=dev')).trim(), 'yes');
  });

  test('view, edit and admin are put together from labelled roles, and follow new ones', async () => {
    await kubectl('create', 'rolebinding', 'viewer', '--clusterrole=view', '--user=victor');
    const victor = await fixture.issue('victor');
    const until = async (path: string, status: number) => {
      const events = await fixture.watch(`${RBAC}/clusterroles?watch=1`);
      for (;;) {
        if ((await as(victor, 'GET', path)).status === status) break;
        await events.next();
      }
      await events.return(undefined);
    };
    await until(PODS, 200);
    assert.equal((await as(victor, 'GET', '/api/v1/namespaces/default/secrets')).status, 403);
    await fixture.call('POST', `${RBAC}/clusterroles`, {
      body: {
        metadata: { name: 'more', labels: { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' } },
        rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['list'] }],
      },
    });
    await until('/api/v1/namespaces/default/secrets', 200);
    const { json } = await fixture.call('GET', `${RBAC}/clusterroles/admin`);
    const rules = json['rules'] as { resources: string[]; verbs: string[] }[];
    assert.ok(rules.some(({ resources, verbs }) => resources.includes('rolebindings') && verbs.includes('create')));
    assert.ok(rules.some(({ resources, verbs }) => resources.includes('pods') && verbs.includes('deletecollection')));
  });

  test('nobody gives what they do not have', async () => {
    const rules = (...verbs: string[]) => [{ apiGroups: ['rbac.authorization.k8s.io'], resources: ['*'], verbs }];
    await fixture.call('POST', `${RBAC}/clusterroles`, {
      body: { metadata: { name: 'roles' }, rules: rules('create', 'update', 'patch', 'get') },
    });
    await kubectl('create', 'clusterrolebinding', 'roles', '--clusterrole=roles', '--user=eve');
    const eve = await fixture.issue('eve');
    const role = {
      metadata: { name: 'mine' },
      rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list'] }],
    };
    const refused = await as(eve, 'POST', `${RBAC}/namespaces/default/roles`, role);
    assert.equal(refused.status, 403);
    assert.equal(
      refused.json.message,
      'roles.rbac.authorization.k8s.io "mine" is forbidden: user "eve" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}',
    );
    const own = { metadata: { name: 'own' }, rules: rules('get') };
    assert.equal((await as(eve, 'POST', `${RBAC}/namespaces/default/roles`, own)).status, 201);
    const grown = { rules: [...own.rules, ...role.rules] };
    assert.equal((await as(eve, 'PATCH', `${RBAC}/namespaces/default/roles/own`, grown, MERGE)).status, 403);
    const admin = {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'User', name: 'eve' }],
    };
    const bound = await as(eve, 'POST', `${RBAC}/clusterrolebindings`, { metadata: { name: 'up' }, ...admin });
    assert.equal(bound.status, 403);
    assert.match(
      bound.json.message,
      /\{APIGroups:\["\*"\], Resources:\["\*"\], Verbs:\["\*"\]\}\n\{NonResourceURLs:\["\*"\], Verbs:\["\*"\]\}$/,
    );
    const aggregated = {
      metadata: { name: 'all' },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
    };
    assert.match(
      (await as(eve, 'POST', `${RBAC}/clusterroles`, aggregated)).json.message,
      /must have cluster-admin privileges to use an aggregationRule/,
    );
    // With `bind` on one role, that one.
    await kubectl(
      'create',
      'clusterrole',
      'binder',
      '--verb=bind',
      '--resource=clusterroles.rbac.authorization.k8s.io',
      '--resource-name=view',
    );
    await kubectl('create', 'clusterrolebinding', 'binder', '--clusterrole=binder', '--user=eve');
    const view = { ...admin, roleRef: { ...admin.roleRef, name: 'view' } };
    assert.equal(
      (await as(eve, 'POST', `${RBAC}/namespaces/default/rolebindings`, { metadata: { name: 'v' }, ...view })).status,
      201,
    );
    await kubectl(
      'create',
      'clusterrole',
      'escalator',
      '--verb=escalate',
      '--resource=roles.rbac.authorization.k8s.io',
    );
    await kubectl('create', 'clusterrolebinding', 'escalator', '--clusterrole=escalator', '--user=eve');
    assert.equal((await as(eve, 'POST', `${RBAC}/namespaces/default/roles`, role)).status, 201);
  });

  test('a binding of a role that is not there gives nothing, and the refusal says so', async () => {
    await kubectl('create', 'rolebinding', 'ghost', '--role=ghost', '--user=gus');
    const gus = await fixture.issue('gus');
    assert.equal(
      (await as(gus, 'GET', PODS)).json.message,
      'pods is forbidden: User "gus" cannot list resource "pods" in API group "" in the namespace "default": RBAC: role.rbac.authorization.k8s.io "ghost" not found',
    );
  });

  test('an update or an apply that would create takes the right to create', async () => {
    await kubectl('create', 'role', 'changer', '--verb=get,update,patch', '--resource=roles,configmaps');
    await kubectl('create', 'rolebinding', 'changer', '--role=changer', '--user=carl');
    const carl = await fixture.issue('carl');
    const maps = '/api/v1/namespaces/default/configmaps';
    const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'new' }, data: { a: 'b' } };
    const apply = () =>
      as(carl, 'PATCH', `${maps}/new?fieldManager=carl`, applied, { 'content-type': 'application/apply-patch+yaml' });
    const refused = await apply();
    assert.equal(
      refused.json.message,
      'configmaps "new" is forbidden: User "carl" cannot create resource "configmaps" in API group "" in the namespace "default"',
    );
    await fixture.call('POST', maps, { body: { metadata: { name: 'new' } } });
    assert.equal((await apply()).status, 200);
    const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'made' }, rules: [] };
    assert.equal((await as(carl, 'PUT', `${RBAC}/namespaces/default/roles/made`, role)).status, 403);
  });

  test('roleRef does not change, rules are checked', async () => {
    const binding = { roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' } };
    const changed = await fixture.call('PATCH', `${RBAC}/namespaces/default/rolebindings/named`, {
      body: binding,
      headers: MERGE,
    });
    assert.equal(changed.status, 422);
    assert.match(changed.json.message, /roleRef: Invalid value: .*: cannot change roleRef$/);
    const wrong = await fixture.call('POST', `${RBAC}/namespaces/default/roles`, {
      body: { metadata: { name: 'w' }, rules: [{ verbs: ['get'], nonResourceURLs: ['/x'] }] },
    });
    assert.match(
      wrong.json.message,
      /rules\[0\]\.nonResourceURLs: Invalid value: .*namespaced rules cannot apply to non-resource URLs/,
    );
  });

  test('impersonation: each part of an identity is a right', async () => {
    await kubectl(
      'create',
      'clusterrole',
      'actor',
      '--verb=impersonate',
      '--resource=users,groups',
      '--resource-name=victor',
      '--resource-name=dev',
    );
    await kubectl('create', 'clusterrolebinding', 'actor', '--clusterrole=actor', '--user=jane');
    const acting = (headers: Record<string, string>) =>
      as(jane, 'POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {}, headers);
    const ok = await acting({ 'impersonate-user': 'victor', 'impersonate-group': 'dev' });
    assert.deepEqual((ok.json['status'] as { userInfo: unknown }).userInfo, {
      username: 'victor',
      groups: ['dev', 'system:authenticated'],
    });
    const other = await acting({ 'impersonate-user': 'admin' });
    assert.equal(
      other.json.message,
      'users "admin" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope',
    );
    assert.equal((await acting({ 'impersonate-user': 'victor', 'impersonate-group': 'system:masters' })).status, 403);
    assert.match(
      (await acting({ 'impersonate-user': 'victor', 'impersonate-extra-scopes': 'all' })).json.message,
      /userextras\/scopes/,
    );
    const account = await acting({ 'impersonate-user': 'system:serviceaccount:default:robot' });
    assert.match(account.json.message, /^serviceaccounts "robot" is forbidden: .* in the namespace "default"$/);
    assert.equal((await acting({ 'impersonate-group': 'dev' })).status, 400);
  });

  test('access reviews for others', async () => {
    const ask = async (kind: string, path: string, spec: object, who?: KeyPair) => {
      const body = { apiVersion: 'authorization.k8s.io/v1', kind, spec };
      return fixture.call('POST', `/apis/authorization.k8s.io/v1/${path}`, {
        body,
        ...(who === undefined ? {} : { as: who }),
      });
    };
    const wanted = { verb: 'get', resource: 'secrets', name: 'one', namespace: 'default' };
    const about = (resourceAttributes: object) => ({ groups: ['dev'], user: 'x', resourceAttributes });
    const yes = await ask('SubjectAccessReview', 'subjectaccessreviews', about(wanted));
    assert.deepEqual(yes.json['status'], { allowed: true });
    const no = await ask('SubjectAccessReview', 'subjectaccessreviews', about({ ...wanted, name: 'two' }));
    assert.deepEqual(no.json['status'], { allowed: false });
    const local = 'namespaces/default/localsubjectaccessreviews';
    assert.deepEqual((await ask('LocalSubjectAccessReview', local, about(wanted))).json['status'], { allowed: true });
    assert.equal(
      (await ask('LocalSubjectAccessReview', local, about({ ...wanted, namespace: 'kube-system' }))).status,
      400,
    );
    assert.equal((await ask('SubjectAccessReview', 'subjectaccessreviews', about(wanted), jane)).status, 403);
    assert.equal((await ask('SelfSubjectAccessReview', 'selfsubjectaccessreviews', {})).status, 400);
  });

  test('the default namespaces are not deleted', async () => {
    const { status, json } = await fixture.call('DELETE', '/api/v1/namespaces/kube-system');
    assert.deepEqual(
      [status, json.message],
      [403, 'namespaces "kube-system" is forbidden: this namespace may not be deleted'],
    );
  });

  test('default roles come back, and what was added to them stays', async () => {
    await fixture.call('DELETE', `${RBAC}/clusterroles/system:basic-user`);
    const extra = { apiGroups: [''], resources: ['configmaps'], verbs: ['get'] };
    const { json } = await fixture.call('GET', `${RBAC}/clusterroles/system:discovery`);
    await fixture.call('PUT', `${RBAC}/clusterroles/system:discovery`, { body: { ...json, rules: [extra] } });
    await fixture.restart();
    assert.equal((await fixture.call('GET', `${RBAC}/clusterroles/system:basic-user`)).status, 200);
    const after = (await fixture.call('GET', `${RBAC}/clusterroles/system:discovery`)).json['rules'] as object[];
    assert.deepEqual(after[0], extra);
    assert.ok(after.length > 1);
  });
});
