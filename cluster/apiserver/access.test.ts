import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';

const PODS = '/api/v1/namespaces/default/pods';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
const MERGE = { 'content-type': 'application/merge-patch+json' };

describe('API server: who may do what', () => {
  let fixture: ApiFixture;
  let node: KeyPair;
  let platform: KeyPair;
  before(async () => {
    fixture = await apiFixture();
    [node, platform] = await Promise.all([
      fixture.issue('system:node:n1', ['system:nodes']),
      fixture.issue('system:sampan:platform', ['system:sampan:platform']),
    ]);
    for (const [name, secret] of [
      ['mine', 's1'],
      ['other', 's2'],
    ] as const) {
      await fixture.call('POST', PODS, {
        body: {
          metadata: { name },
          spec: {
            containers: [
              { name: 'c', image: 'i', env: [{ name: 'X', valueFrom: { secretKeyRef: { name: secret, key: 'k' } } }] },
            ],
          },
        },
      });
      await fixture.call('POST', `${PODS}/${name}/binding`, {
        body: { target: { name: name === 'mine' ? 'n1' : 'n2' } },
      });
      await fixture.call('POST', '/api/v1/namespaces/default/secrets', {
        body: { metadata: { name: secret }, stringData: { k: 'v' } },
      });
    }
  });
  after(() => fixture.close());

  test('nobody sees health and version only', async () => {
    for (const path of ['/healthz', '/livez', '/readyz', '/version'])
      assert.equal((await fixture.call('GET', path, { as: null })).status, 200, path);
    for (const path of [PODS, '/api', '/metrics', '/openapi/v2'])
      assert.ok([401, 403].includes((await fixture.call('GET', path, { as: null })).status), path);
  });

  test('a certificate of another authority and an unknown token are refused', async () => {
    const stranger = await createAuthority({ commonName: 'test', days: 1 });
    const forged = await issueCertificate(stranger, {
      commonName: 'admin',
      organizations: ['system:masters'],
      usages: ['client'],
      days: 1,
    });
    assert.equal((await fixture.call('GET', PODS, { as: forged })).status, 401);
    assert.equal((await fixture.call('GET', '/version', { as: forged })).status, 401);
    const bearer = (token: string) =>
      fixture.call('GET', PODS, { as: null, headers: { authorization: `Bearer ${token}` } });
    assert.equal((await bearer('bad')).status, 401);
    assert.equal((await bearer('good')).status, 200);
  });

  test('a user without rights is told what is missing', async () => {
    const jane = await fixture.issue('jane', ['dev']);
    const { status, json } = await fixture.call('GET', `${PODS}/mine`, { as: jane });
    assert.deepEqual(
      [status, json.message],
      [
        403,
        'pods "mine" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"',
      ],
    );
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' } },
    };
    const asked = await fixture.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      body: review,
      as: jane,
    });
    assert.deepEqual(asked.json['status'], { allowed: false });
    const impersonated = await fixture.call('GET', PODS, {
      as: jane,
      headers: { 'impersonate-user': 'admin', 'impersonate-group': 'system:masters' },
    });
    assert.equal(impersonated.status, 403);
    const lessened = await fixture.call('GET', PODS, { headers: { 'impersonate-user': 'jane' } });
    assert.equal(lessened.status, 403);
  });

  test('a node has its own pods, node and lease, and no others', async () => {
    const statusOf = async (method: string, path: string, body?: unknown, headers = {}) =>
      (await fixture.call(method, path, { as: node, ...(body === undefined ? {} : { body }), headers })).status;
    // Names and policies take every pod's address; until 1.31 upstream's nodes see all of them too.
    assert.equal(await statusOf('GET', '/api/v1/pods'), 200);
    assert.equal(await statusOf('DELETE', '/api/v1/namespaces/default/pods'), 403);
    assert.equal(await statusOf('GET', `${PODS}/mine`), 200);
    assert.equal(await statusOf('GET', `${PODS}/other`), 403);
    assert.equal(await statusOf('PATCH', `${PODS}/mine/status`, { status: { phase: 'Running' } }, MERGE), 200);
    assert.equal(await statusOf('PATCH', `${PODS}/other/status`, { status: { phase: 'Running' } }, MERGE), 403);
    assert.equal(await statusOf('PATCH', `${PODS}/mine`, { metadata: { labels: { a: 'b' } } }, MERGE), 403);
    assert.equal(
      await statusOf('POST', PODS, { metadata: { name: 'x' }, spec: { containers: [{ name: 'c', image: 'i' }] } }),
      403,
    );
    assert.equal(await statusOf('GET', '/api/v1/namespaces/default/secrets/s1'), 200);
    assert.equal(await statusOf('GET', '/api/v1/namespaces/default/secrets/s2'), 403);
    assert.equal(await statusOf('GET', '/api/v1/namespaces/default/secrets'), 403);
    assert.equal(await statusOf('POST', '/api/v1/nodes', { metadata: { name: 'n2' } }), 403);
    assert.equal(await statusOf('POST', '/api/v1/nodes', { metadata: { name: 'n1' } }), 201);
    assert.equal(await statusOf('PATCH', '/api/v1/nodes/n1/status', { status: {} }, MERGE), 200);
    assert.equal(await statusOf('PATCH', '/api/v1/nodes/n2/status', { status: {} }, MERGE), 403);
    assert.equal(await statusOf('POST', LEASES, { metadata: { name: 'n2' } }), 403);
    assert.equal(await statusOf('POST', LEASES, { metadata: { name: 'n1' } }), 201);
    assert.equal(await statusOf('GET', '/api/v1/services'), 200);
    assert.equal(await statusOf('GET', `${PODS}/mine/exec?command=sh&stdout=1`), 403);
    assert.equal(await statusOf('DELETE', '/api/v1/nodes/n1'), 403);
    assert.equal(await statusOf('GET', '/metrics'), 403);
  });

  test('a node follows the volumes on its disk, and lets go of those that are deleted', async () => {
    const VOLUMES = '/api/v1/persistentvolumes';
    const finalizers = ['local.sampan.dev/volume', 'example.com/other'];
    for (const at of ['n1', 'n2'])
      await fixture.call('POST', VOLUMES, {
        body: {
          metadata: { name: `on-${at}`, labels: { 'local.sampan.dev/node': at }, finalizers },
          spec: {
            capacity: { storage: '1Gi' },
            accessModes: ['ReadWriteOnce'],
            csi: { driver: 'local.sampan.dev', volumeHandle: 'x' },
          },
        },
      });
    const asNode = async (method: string, path: string, body?: unknown) =>
      (await fixture.call(method, path, { as: node, ...(body === undefined ? {} : { body }), headers: MERGE })).status;
    const label = (at: string) => `${VOLUMES}?labelSelector=local.sampan.dev%2Fnode%3D${at}`;
    assert.equal(await asNode('GET', VOLUMES), 403);
    assert.equal(await asNode('GET', label('n2')), 403);
    assert.equal(await asNode('GET', label('n1')), 200);
    assert.equal(await asNode('GET', label('n1%2Cx!%3Dy')), 403);
    const without = { metadata: { finalizers: ['example.com/other'] } };
    assert.equal(await asNode('PATCH', `${VOLUMES}/on-n2`, without), 403);
    assert.equal(await asNode('PATCH', `${VOLUMES}/on-n1`, { metadata: { finalizers: [] } }), 403);
    assert.equal(await asNode('PATCH', `${VOLUMES}/on-n1`, { metadata: { labels: { a: 'b' } } }), 403);
    assert.equal(await asNode('PATCH', `${VOLUMES}/on-n1`, { spec: { storageClassName: 'x' } }), 403);
    assert.equal(await asNode('DELETE', `${VOLUMES}/on-n1`), 403);
    const annotate = (annotations: Record<string, string>) =>
      asNode('PATCH', `${VOLUMES}/on-n1`, { metadata: { annotations } });
    assert.equal(await annotate({ 'pv.kubernetes.io/provisioned-by': 'x' }), 403);
    assert.equal(await annotate({ 'local.sampan.dev/made': 'true' }), 200);
    assert.equal(await asNode('PATCH', `${VOLUMES}/on-n1`, without), 200);
    assert.equal(await asNode('PATCH', `${VOLUMES}/on-n1`, { metadata: { finalizers } }), 403);
  });

  test('the platform has everything but what nodes say of themselves', async () => {
    const statusOf = async (method: string, path: string, body?: unknown, headers = {}) =>
      (await fixture.call(method, path, { as: platform, ...(body === undefined ? {} : { body }), headers })).status;
    assert.equal(await statusOf('GET', '/api/v1/nodes'), 200);
    assert.equal(await statusOf('GET', '/api/v1/secrets'), 200);
    assert.equal(await statusOf('POST', '/api/v1/namespaces', { metadata: { name: 'space' } }), 201);
    assert.equal(await statusOf('POST', '/api/v1/nodes', { metadata: { name: 'n9' } }), 403);
    assert.equal(await statusOf('PATCH', '/api/v1/nodes/n1/status', { status: {} }, MERGE), 403);
    assert.equal(await statusOf('DELETE', `${LEASES}/n1`), 403);
    const masters = { 'impersonate-user': 'admin', 'impersonate-group': 'system:masters' };
    assert.equal(await statusOf('POST', '/api/v1/nodes', { metadata: { name: 'n9' } }, masters), 403);
    const binding = {
      metadata: { name: 'up' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'Group', name: 'system:sampan:platform' }],
    };
    assert.equal(await statusOf('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', binding), 403);
    const role = {
      metadata: { name: 'sampan:space-owner' },
      rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
    };
    assert.equal(await statusOf('POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', role), 403);
    assert.equal(
      await statusOf('POST', '/apis/coordination.k8s.io/v1/namespaces/default/leases', {
        metadata: { name: 'leader' },
      }),
      201,
    );
  });
});
