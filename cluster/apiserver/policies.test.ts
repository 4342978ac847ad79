import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const ROOT = '/apis/admissionregistration.k8s.io/v1';
const MAPS = '/api/v1/namespaces/default/configmaps';
const rule = { apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['CREATE', 'UPDATE'] };

describe('API server: validating admission policies', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const create = (name: string, data: object) => fixture.call('POST', MAPS, { body: { metadata: { name }, data } });
  const only = (namespace: string) => ({
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
  });
  const bound = async (spec: object, binding: object, work: () => Promise<void>) => {
    const matchConstraints = { resourceRules: [rule] };
    const policy = await fixture.call('POST', `${ROOT}/validatingadmissionpolicies`, {
      body: { metadata: { name: 'p.example.com' }, spec: { matchConstraints, ...spec } },
    });
    assert.equal(policy.status, 201, policy.text);
    const made = await fixture.call('POST', `${ROOT}/validatingadmissionpolicybindings`, {
      body: { metadata: { name: 'b' }, spec: { policyName: 'p.example.com', validationActions: ['Deny'], ...binding } },
    });
    assert.equal(made.status, 201, made.text);
    try {
      await work();
    } finally {
      await fixture.call('DELETE', `${ROOT}/validatingadmissionpolicybindings/b`);
      await fixture.call('DELETE', `${ROOT}/validatingadmissionpolicies/p.example.com`);
    }
  };

  test('a policy denies, in its own words and with its reason', async () => {
    const spec = {
      variables: [
        { name: 'size', expression: 'size(object.data)' },
        { name: 'few', expression: 'variables.size <= 2' },
      ],
      validations: [
        {
          expression: 'variables.few',
          messageExpression: '"too many: " + string(variables.size)',
          reason: 'Forbidden',
        },
        { expression: '!("secret" in object.data)' },
        { expression: 'object.data.level != "high" || namespaceObject.metadata.name == "x"', message: 'not here' },
      ],
      matchConditions: [{ name: 'named', expression: 'object.metadata.name != "exempt"' }],
    };
    await bound(spec, {}, async () => {
      const ok = await create('ok', { level: 'low' });
      assert.equal(ok.status, 201, ok.text);
      const many = await create('many', { a: '', b: '', level: 'low' });
      assert.deepEqual(
        [many.status, many.json.reason, many.json.message],
        [
          403,
          'Forbidden',
          "configmaps \"many\" is forbidden: ValidatingAdmissionPolicy 'p.example.com' with binding 'b' denied request: too many: 3",
        ],
      );
      const secret = await create('secret', { secret: '', level: 'low' });
      assert.deepEqual([secret.status, secret.json.reason], [422, 'Invalid']);
      assert.match(secret.json.message, /denied request: failed expression: !\("secret" in object.data\)$/);
      assert.match((await create('high', { level: 'high' })).json.message, /denied request: not here$/);
      assert.match(
        (await create('none', { other: '' })).json.message,
        /expression 'object.data.level .*' resulted in error: No such key: level$/,
      );
      assert.equal((await create('exempt', { secret: '' })).status, 201);
      const changed = await fixture.call('PATCH', `${MAPS}/ok`, {
        body: { data: { secret: '' } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
      assert.equal(changed.status, 422);
    });
    assert.equal((await create('secret', { secret: '' })).status, 201);
  });

  test('parameters; warnings instead of refusals; what a policy that fails does', async () => {
    const spec = {
      paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
      validations: [{ expression: 'size(object.data) <= int(params.data.limit)' }],
    };
    const paramRef = { name: 'limits', namespace: 'kube-system', parameterNotFoundAction: 'Deny' };
    await bound(spec, { paramRef, matchResources: only('default') }, async () => {
      assert.match((await create('p1', {})).json.message, /no params found for policy binding with `Deny`/);
      await fixture.call('POST', '/api/v1/namespaces/kube-system/configmaps', {
        body: { metadata: { name: 'limits' }, data: { limit: '1' } },
      });
      const within = await create('p1', { a: '' });
      assert.equal(within.status, 201, within.text);
      assert.equal((await create('p2', { a: '', b: '' })).status, 422);
    });
    await bound(spec, { paramRef, validationActions: ['Warn', 'Audit'] }, async () => {
      const warned = await create('p3', { a: '', b: '' });
      assert.equal(warned.status, 201);
      assert.match(
        String(warned.headers['warning']),
        /Validation failed for ValidatingAdmissionPolicy 'p.example.com' with binding 'b'/,
      );
    });
    const failing = { validations: [{ expression: 'object.absent.field == 1' }] };
    await bound({ ...failing, failurePolicy: 'Ignore' }, {}, async () => {
      assert.equal((await create('p4', {})).status, 201);
    });
    const loops =
      'object.data.list.split(",").all(a, object.data.list.split(",").all(b, object.data.list.split(",").all(c, a + b + c != "")))';
    await bound({ validations: [{ expression: loops }] }, {}, async () => {
      const { json } = await create('p5', { list: 'x,'.repeat(2000) });
      assert.match(json.message, /actual cost limit exceeded/);
    });
  });

  test('a binding narrows its policy; what is no policy is refused with its place', async () => {
    const matchResources = only('kube-system');
    await bound({ validations: [{ expression: 'false' }] }, { matchResources }, async () => {
      assert.equal((await create('elsewhere', {})).status, 201);
      const refused = await fixture.call('POST', '/api/v1/namespaces/kube-system/configmaps', {
        body: { metadata: { name: 'here' } },
      });
      assert.equal(refused.status, 422);
    });
    const { json } = await fixture.call('POST', `${ROOT}/validatingadmissionpolicies`, {
      body: {
        metadata: { name: 'wrong' },
        spec: { validations: [{ expression: 'object.' }, { expression: 'params.a' }] },
      },
    });
    const { causes } = json['details'] as { causes: { field: string }[] };
    assert.deepEqual(
      causes.map(({ field }) => field),
      ['spec.matchConstraints', 'spec.validations[0].expression', 'spec.validations[1].expression'],
    );
  });
});
