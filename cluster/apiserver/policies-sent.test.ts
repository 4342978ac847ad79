/** Policies about what subresources are sent, and about what somebody may do. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { KeyPair } from '#lib/certificates.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { openServiceAccountKeys } from './authenticators/service-account-keys.ts';

const ROOT = '/apis/admissionregistration.k8s.io/v1';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const CORE = '/api/v1/namespaces/default';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
const MERGE = { 'content-type': 'application/merge-patch+json' };

describe('API server: policies about requests that make no object, and about rights', () => {
  let fixture: ApiFixture;
  let directory: string;
  let jane: KeyPair;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sampan-policies-'));
    const keys = await openServiceAccountKeys(join(directory, 'keys'));
    fixture = await apiFixture({ serviceAccounts: { issuer: 'https://issuer.example.com', keys } });
    jane = await fixture.issue('jane');
    for (const name of ['default', 'robot']) await made(`${CORE}/serviceaccounts`, { metadata: { name } });
  });
  after(async () => {
    await fixture?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const made = async (path: string, body: object) => {
    const answer = await fixture.call('POST', path, { body });
    assert.equal(answer.status, 201, answer.text);
  };
  const policy = (spec: object) =>
    fixture.call('POST', `${ROOT}/validatingadmissionpolicies`, { body: { metadata: { name: 'p' }, spec } });
  const judged = async (spec: object, work: () => Promise<void>) => {
    const { status, text } = await policy(spec);
    assert.equal(status, 201, text);
    const binding = { policyName: 'p', validationActions: ['Deny'] };
    await made(`${ROOT}/validatingadmissionpolicybindings`, { metadata: { name: 'p' }, spec: binding });
    try {
      await work();
    } finally {
      await fixture.call('DELETE', `${ROOT}/validatingadmissionpolicybindings/p`);
      await fixture.call('DELETE', `${ROOT}/validatingadmissionpolicies/p`);
    }
  };
  const refused = async (method: string, path: string, options: { body: object; headers?: Record<string, string> }) => {
    const { status, text, json } = await fixture.call(method, path, options);
    assert.equal(status, 422, text);
    return json.message.replace(/^.* denied request: /, '');
  };
  const pod = (name: string) => ({ metadata: { name }, spec: { containers: [{ name: 'a', image: 'b' }] } });

  test('a binding, an eviction, a scale, a token request: each as what it is, and not as a change of its object', async () => {
    const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'a', image: 'b' }] } };
    const spec = { replicas: 1, selector: { matchLabels: { a: 'b' } }, template };
    await made(DEPLOYMENTS, { metadata: { name: 'd' }, spec });
    for (const name of ['one', 'two']) await made(`${CORE}/pods`, pod(name));
    const resources = ['pods', 'pods/*', 'deployments', 'deployments/*', 'serviceaccounts/token'];
    const rule = { apiGroups: ['*'], apiVersions: ['*'], resources, operations: ['CREATE', 'UPDATE', 'DELETE'] };
    const validation = (part: string, expression: string, message: string) => ({
      expression: `request.kind.kind != "${part}" || (${expression})`,
      message,
    });
    const validations = [
      { expression: '!(request.kind.kind in ["Pod", "Deployment"])', message: 'an object' },
      validation('Binding', 'request.subResource == "binding" && object.target.name != "bad"', 'not there'),
      validation('Eviction', 'request.name != "one" || object.deleteOptions.gracePeriodSeconds > 5', 'too soon'),
      validation('Scale', 'object.spec.replicas <= oldObject.spec.replicas + 2', 'too fast'),
      validation('TokenRequest', 'object.spec.expirationSeconds <= 1000', 'too long'),
    ];
    await judged({ matchConstraints: { resourceRules: [rule] }, validations }, async () => {
      const target = (name: string, metadata = {}) => ({ body: { metadata, target: { kind: 'Node', name } } });
      assert.equal(await refused('POST', `${CORE}/pods/one/binding`, target('bad')), 'not there');
      assert.equal(await refused('POST', `${CORE}/bindings`, target('bad', { name: 'one' })), 'not there');
      const stale = await fixture.call('POST', `${CORE}/pods/one/binding`, target('good', { resourceVersion: '1' }));
      assert.match(stale.json.message, /Precondition failed: ResourceVersion in precondition: 1, /);
      const noted = target('good', { annotations: { 'example.com/by': 'a scheduler' } });
      assert.equal((await fixture.call('POST', `${CORE}/pods/one/binding`, noted)).status, 201);
      const bound = await fixture.call('GET', `${CORE}/pods/one`);
      assert.deepEqual(bound.json.metadata.annotations, { 'example.com/by': 'a scheduler' });
      assert.equal((bound.json['spec'] as { nodeName?: string }).nodeName, 'good');

      const scale = (replicas: number) => ({ body: { spec: { replicas } }, headers: MERGE });
      assert.equal(await refused('PATCH', `${DEPLOYMENTS}/d/scale`, scale(4)), 'too fast');
      const scaled = await fixture.call('PATCH', `${DEPLOYMENTS}/d/scale`, scale(3));
      assert.equal(scaled.status, 200, scaled.text);
      assert.equal(await refused('PATCH', `${DEPLOYMENTS}/d`, scale(2)), 'an object');
      assert.deepEqual((await fixture.call('GET', `${DEPLOYMENTS}/d/scale`)).json['spec'], { replicas: 3 });

      const evict = (gracePeriodSeconds: number) => ({ body: { deleteOptions: { gracePeriodSeconds } } });
      assert.equal(await refused('POST', `${CORE}/pods/one/eviction`, evict(1)), 'too soon');
      const token = (expirationSeconds: number) => ({ body: { spec: { expirationSeconds } } });
      assert.equal(await refused('POST', `${CORE}/serviceaccounts/robot/token`, token(2000)), 'too long');
      assert.equal((await fixture.call('POST', `${CORE}/serviceaccounts/robot/token`, token(600))).status, 201);

      assert.equal(await refused('DELETE', `${CORE}/pods/two`, { body: {} }), 'an object');
      const evicted = await fixture.call('POST', `${CORE}/pods/two/eviction`, { body: {} });
      assert.equal(evicted.status, 201, evicted.text);
      assert.equal((await fixture.call('GET', `${CORE}/pods/two`)).status, 404);
    });
  });

  test('`authorizer`: what the user may do, and what a service account may', async () => {
    const rules = [
      { apiGroups: [''], resources: ['configmaps'], verbs: ['create'] },
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['known'], verbs: ['get'] },
    ];
    const subjects = [{ kind: 'User', name: 'jane', apiGroup: 'rbac.authorization.k8s.io' }];
    const grant = async (name: string, granted: object[], given: object[]) => {
      await made(`${RBAC}/namespaces/default/roles`, { metadata: { name }, rules: granted });
      const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name };
      await made(`${RBAC}/namespaces/default/rolebindings`, { metadata: { name }, roleRef, subjects: given });
    };
    await grant('jane', rules, subjects);
    const scales = [{ apiGroups: ['apps'], resources: ['deployments/scale'], verbs: ['update'] }];
    await grant('scaler', scales, [{ kind: 'ServiceAccount', name: 'scaler', namespace: 'default' }]);
    const rule = { apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['CREATE'] };
    const secret = 'authorizer.group("").resource("secrets").namespace(request.namespace).name(object.metadata.name)';
    const account = 'authorizer.serviceAccount(request.namespace, object.data.account).group("apps")';
    const spec = {
      matchConstraints: { resourceRules: [rule] },
      matchConditions: [
        { name: 'breaks-glass', expression: '!authorizer.requestResource.check("breakglass").allowed()' },
      ],
      variables: [{ name: 'reads', expression: `${secret}.check("get")` }],
      validations: [
        { expression: 'variables.reads.allowed() && !variables.reads.errored()', message: 'may not read the secret' },
        { expression: 'authorizer.path("/healthz").check("get").allowed()', message: 'may not ask for health' },
        {
          expression: `!has(object.data) || ${account}.resource("deployments").subresource("scale").namespace("default").check("update").allowed()`,
          message: 'the account may not scale',
        },
      ],
    };
    const create = (name: string, data?: object) =>
      fixture.call('POST', `${CORE}/configmaps`, { as: jane, body: { metadata: { name }, ...(data && { data }) } });
    await judged(spec, async () => {
      assert.match((await create('unknown')).json.message, /denied request: may not read the secret$/);
      const known = await create('known', { account: 'scaler' });
      assert.equal(known.status, 201, known.text);
      await fixture.call('DELETE', `${CORE}/configmaps/known`);
      assert.match((await create('known', { account: 'other' })).json.message, /: the account may not scale$/);
      assert.match((await create('known', { account: 'No Name' })).json.message, /Invalid service account name$/);
      const admin = await fixture.call('POST', `${CORE}/configmaps`, { body: { metadata: { name: 'unknown' } } });
      assert.equal(admin.status, 201, 'who may do everything may break the glass');
    });
    const wrong = await policy({
      ...spec,
      validations: [
        { expression: 'authorizer.path("/").check("get")' },
        { expression: 'authorizer.resource("secrets").check("get").allowed()' },
        { expression: 'true', messageExpression: 'authorizer.path("/").check("get").reason()' },
      ],
    });
    const { causes } = wrong.json['details'] as { causes: { field: string }[] };
    assert.deepEqual(
      causes.map(({ field }) => field),
      ['spec.validations[0].expression', 'spec.validations[1].expression', 'spec.validations[2].messageExpression'],
    );
  });
});
