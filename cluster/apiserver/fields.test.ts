/** Fields that no other test of the API looks at: kept and shown as they were said, and, where they decide something, obeyed. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { until } from '#testing/until.ts';

const CORE = '/api/v1/namespaces/default';
const MAPS = `${CORE}/configmaps`;
const ADMISSION = '/apis/admissionregistration.k8s.io/v1';

describe('API server: fields', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const create = async (path: string, body: object) => {
    const answer = await fixture.call('POST', path, { body });
    assert.equal(answer.status, 201, answer.text);
    return answer.json;
  };
  const createMap = (name: string, more: object = {}) =>
    fixture.call('POST', MAPS, { body: { metadata: { name, ...more } } });

  test('what is said for readers is kept', async () => {
    const map = await create(MAPS, { metadata: { name: 'binary' }, binaryData: { blob: 'AAECAw==' } });
    assert.deepEqual(map['binaryData'], { blob: 'AAECAw==' });
    const wrong = await fixture.call('POST', MAPS, {
      body: { metadata: { name: 'twice' }, data: { a: '' }, binaryData: { a: 'AA==' } },
    });
    assert.equal(wrong.status, 422, wrong.text);
    const priority = { metadata: { name: 'tall' }, value: 7, description: 'before others' };
    assert.equal(
      (await create('/apis/scheduling.k8s.io/v1/priorityclasses', priority))['description'],
      'before others',
    );
    const account = await create(`${CORE}/serviceaccounts`, {
      metadata: { name: 'robot' },
      secrets: [{ name: 'token' }],
    });
    assert.deepEqual(account['secrets'], [{ name: 'token' }]);
    const lease = { holderIdentity: 'me', acquireTime: '2024-03-01T10:00:00.000000Z', leaseTransitions: 2 };
    const kept = await create('/apis/coordination.k8s.io/v1/namespaces/default/leases', {
      metadata: { name: 'l' },
      spec: lease,
    });
    assert.deepEqual(kept['spec'], lease);
  });

  test('where the data of a claim come from is found by either name, and applied again without a change', async () => {
    const resources = { requests: { storage: '1Gi' } };
    const source = { kind: 'PersistentVolumeClaim', name: 'other' };
    for (const field of ['dataSource', 'dataSourceRef']) {
      const claim = {
        metadata: { name: `of-${field.toLowerCase()}` },
        spec: { accessModes: ['ReadWriteOnce'], resources, [field]: source },
      };
      const made = await create(`${CORE}/persistentvolumeclaims`, claim);
      const { dataSource, dataSourceRef } = made['spec'] as Record<string, unknown>;
      assert.deepEqual([dataSource, dataSourceRef], [source, source]);
      const again = await fixture.call('PUT', `${CORE}/persistentvolumeclaims/${claim.metadata.name}`, { body: claim });
      assert.deepEqual([again.status, again.json.metadata.resourceVersion], [200, made.metadata.resourceVersion]);
    }
  });

  test('who provided a node is said once', async () => {
    await create('/api/v1/nodes', { metadata: { name: 'provided' } });
    const provide = (providerID: string | null) =>
      fixture.call('PATCH', '/api/v1/nodes/provided', {
        body: { spec: { providerID } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
    assert.equal((await provide('a://b')).status, 200);
    for (const other of ['a://c', null])
      assert.match(
        (await provide(other)).json.message,
        /spec\.providerID: Forbidden: node updates may not change providerID except from "" to valid$/,
      );
  });

  test('empty texts, as charts write them, are no values', async () => {
    const port = { containerPort: 80, protocol: '' };
    const container = { name: 'c', image: 'i:1', imagePullPolicy: '', terminationMessagePolicy: '', ports: [port] };
    const spec = { restartPolicy: '', dnsPolicy: '', priorityClassName: '', nodeName: '', containers: [container] };
    const pod = await create(`${CORE}/pods`, { metadata: { name: 'empty', labels: {} }, spec });
    const { restartPolicy, dnsPolicy, nodeName, containers } = pod['spec'] as Record<string, unknown>;
    assert.deepEqual([restartPolicy, dnsPolicy, nodeName], ['Always', 'ClusterFirst', undefined]);
    const [made] = containers as Record<string, unknown>[];
    assert.deepEqual([made?.['imagePullPolicy'], made?.['ports']], ['IfNotPresent', [{ ...port, protocol: 'TCP' }]]);
    assert.equal(pod.metadata.labels, undefined);
    const none = await fixture.call('POST', `${CORE}/pods`, { body: { metadata: { name: 'none' }, spec: {} } });
    assert.match(none.json.message, /is invalid: spec\.containers: Required value$/);
  });

  test('the old name of a service account is the new one', async () => {
    const spec = { serviceAccount: 'robot', containers: [{ name: 'c', image: 'i' }] };
    const pod = await create(`${CORE}/pods`, { metadata: { name: 'old' }, spec });
    const { serviceAccount, serviceAccountName } = pod['spec'] as Record<string, string>;
    assert.deepEqual([serviceAccount, serviceAccountName], ['robot', 'robot']);
  });

  test('an event says everything in both of its groups', async () => {
    const time = '2024-03-01T10:00:00.000000Z';
    const series = { count: 3, lastObservedTime: time };
    const about = { kind: 'Pod', namespace: 'default', name: 'p', fieldPath: 'spec.containers{c}' };
    const said = {
      regarding: about,
      related: { kind: 'Node', name: 'n' },
      action: 'Binding',
      reason: 'Why',
      type: 'Normal',
      note: 'said',
      eventTime: time,
      reportingController: 'example.com/controller',
      reportingInstance: 'controller-0',
      series,
    };
    await create('/apis/events.k8s.io/v1/namespaces/default/events', { metadata: { name: 'whole' }, ...said });
    const { json } = await fixture.call('GET', `${CORE}/events/whole`);
    const shown = Object.fromEntries(
      [
        'involvedObject',
        'related',
        'action',
        'message',
        'eventTime',
        'reportingComponent',
        'reportingInstance',
        'series',
      ].map((field) => [field, json[field]]),
    );
    assert.deepEqual(shown, {
      involvedObject: about,
      related: said.related,
      action: 'Binding',
      message: 'said',
      eventTime: time,
      reportingComponent: 'example.com/controller',
      reportingInstance: 'controller-0',
      series,
    });
    const old = {
      involvedObject: about,
      firstTimestamp: '2024-03-01T09:00:00Z',
      lastTimestamp: '2024-03-01T10:00:00Z',
      count: 2,
      source: { component: 'kubelet', host: 'n' },
    };
    await create(`${CORE}/events`, { metadata: { name: 'old' }, ...old });
    const back = await fixture.call('GET', '/apis/events.k8s.io/v1/namespaces/default/events/old');
    assert.deepEqual(
      ['deprecatedFirstTimestamp', 'deprecatedLastTimestamp', 'deprecatedCount', 'deprecatedSource'].map(
        (field) => back.json[field],
      ),
      [old.firstTimestamp, old.lastTimestamp, 2, old.source],
    );
  });

  test('what this server serves itself is available, since it does', async () => {
    const { json } = await fixture.call('GET', '/apis/apiregistration.k8s.io/v1/apiservices/v1.apps');
    const { conditions } = json['status'] as { conditions: { type: string; lastTransitionTime?: string }[] };
    assert.deepEqual(
      conditions.map(({ type, lastTransitionTime }) => [type, lastTransitionTime !== undefined]),
      [['Available', true]],
    );
  });

  test('requests of a service account for what is of the cluster have a flow of their own', async () => {
    const { metadata } = await create('/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas', {
      metadata: { name: 'robots' },
      spec: {
        matchingPrecedence: 10,
        priorityLevelConfiguration: { name: 'workload-low' },
        rules: [
          {
            subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: 'robot', namespace: 'default' } }],
            resourceRules: [{ verbs: ['list'], apiGroups: [''], resources: ['nodes', 'pods'], clusterScope: true }],
          },
        ],
      },
    });
    const flowOf = async (path: string, user: string) =>
      (await fixture.call('GET', path, { headers: { 'impersonate-user': user } })).headers[
        'x-kubernetes-pf-flowschema-uid'
      ];
    const robot = 'system:serviceaccount:default:robot';
    assert.equal(await flowOf('/api/v1/nodes', robot), metadata.uid);
    assert.notEqual(await flowOf(`${CORE}/pods`, robot), metadata.uid);
    assert.notEqual(await flowOf('/api/v1/nodes', 'system:serviceaccount:default:other'), metadata.uid);
    const SCHEMAS = '/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas';
    const spec = { matchingPrecedence: 9000, priorityLevelConfiguration: { name: 'none' } };
    await create(SCHEMAS, { metadata: { name: 'nowhere' }, spec });
    await until(async () => {
      const { json } = await fixture.call('GET', `${SCHEMAS}/nowhere`);
      const { conditions = [] } = (json['status'] ?? {}) as {
        conditions?: { type: string; status: string; lastTransitionTime?: string }[];
      };
      return conditions.some((one) => one.type === 'Dangling' && one.status === 'True' && one.lastTransitionTime);
    });
  });

  test('reviews of access to paths, and all that one may', async () => {
    const review = async (kind: string, spec: object, as = 'jane') => {
      const pair = await fixture.issue(as, ['team']);
      const path = `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`;
      const body = { apiVersion: 'authorization.k8s.io/v1', kind, spec };
      return (await fixture.call('POST', path, { body, ...(kind.startsWith('Self') && { as: pair }) })).json[
        'status'
      ] as Record<string, unknown>;
    };
    const path = { nonResourceAttributes: { path: '/version', verb: 'get' } };
    assert.equal((await review('SelfSubjectAccessReview', path))['allowed'], true);
    const metrics = { nonResourceAttributes: { path: '/metrics', verb: 'get' } };
    assert.equal((await review('SelfSubjectAccessReview', metrics))['allowed'], false);
    const other = { user: 'ann', groups: ['system:monitoring'], uid: 'u', extra: { scopes: ['a'] }, ...metrics };
    assert.equal((await review('SubjectAccessReview', other))['allowed'], true);
    const part = { verb: 'create', group: '', resource: 'pods', subresource: 'exec', namespace: 'default' };
    assert.equal((await review('SubjectAccessReview', { user: 'ann', resourceAttributes: part }))['allowed'], false);
    await create('/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      metadata: { name: 'one-map' },
      rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['one'], verbs: ['get'] }],
    });
    await create(`/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings`, {
      metadata: { name: 'one-map' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'one-map' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'jane' }],
    });
    const all = await review('SelfSubjectRulesReview', { namespace: 'default' });
    const rule = { verbs: ['get'], apiGroups: [''], resources: ['configmaps'], resourceNames: ['one'] };
    assert.ok(
      (all['resourceRules'] as object[]).some((one) => JSON.stringify(one) === JSON.stringify(rule)),
      JSON.stringify(all),
    );
    assert.ok(
      (all['nonResourceRules'] as { nonResourceURLs: string[] }[]).some(({ nonResourceURLs }) =>
        nonResourceURLs.includes('/version'),
      ),
    );
    assert.equal(all['incomplete'], false);
    const node = await review('SelfSubjectRulesReview', { namespace: 'default' }, 'system:node:n');
    assert.equal(typeof node['incomplete'], 'boolean');
  });

  test('who is to come again is told when', async () => {
    const labels = { app: 'counted' };
    const spec = { nodeName: 'n', containers: [{ name: 'c', image: 'i' }] };
    await create(`${CORE}/pods`, { metadata: { name: 'counted', labels }, spec });
    await create('/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
      metadata: { name: 'new' },
      spec: { minAvailable: 1, selector: { matchLabels: labels } },
    });
    await fixture.call('PATCH', `${CORE}/pods/counted/status`, {
      body: { status: { phase: 'Running' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    // Nobody has counted the pods yet.
    const { status, json, headers } = await fixture.call('POST', `${CORE}/pods/counted/eviction`, {
      body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'counted' } },
    });
    const { retryAfterSeconds } = json['details'] as { retryAfterSeconds: number };
    assert.deepEqual([status, String(retryAfterSeconds)], [429, headers['retry-after']]);
  });

  test('a list in parts says what is left and where to go on, in no old words', async () => {
    for (const name of ['a', 'b', 'c']) await createMap(name, { labels: { page: '1' } });
    const { json } = await fixture.call('GET', `${MAPS}?limit=1`);
    const {
      continue: token,
      remainingItemCount,
      resourceVersion,
      selfLink,
    } = json.metadata as unknown as Record<string, unknown>;
    assert.ok(token && resourceVersion);
    assert.ok(Number(remainingItemCount) >= 2);
    assert.equal(selfLink, undefined);
  });

  describe('what a policy is about', { concurrency: false }, () => {
    const rule = { apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['CREATE'] };
    /** Are maps of these names refused while a policy is there that refuses all that it is about? */
    const refused = async (
      matchConstraints: object,
      maps: [name: string, metadata?: object][],
      further: object = {},
    ) => {
      const spec = { matchConstraints, validations: [{ expression: 'false', message: 'no' }], ...further };
      await create(`${ADMISSION}/validatingadmissionpolicies`, { metadata: { name: 'about.example.com' }, spec });
      await create(`${ADMISSION}/validatingadmissionpolicybindings`, {
        metadata: { name: 'about' },
        spec: { policyName: 'about.example.com', validationActions: ['Deny'] },
      });
      try {
        const found: boolean[] = [];
        for (const [name, metadata] of maps) {
          const { status } = await fixture.call('POST', `${MAPS}?dryRun=All`, {
            body: { metadata: { name, ...metadata } },
          });
          found.push(status !== 201);
        }
        return found;
      } finally {
        await fixture.call('DELETE', `${ADMISSION}/validatingadmissionpolicybindings/about`);
        await fixture.call('DELETE', `${ADMISSION}/validatingadmissionpolicies/about.example.com`);
      }
    };

    test('names, labels, scopes and exceptions', async () => {
      const two: [string, object?][] = [['x'], ['y', { labels: { app: 'a' } }]];
      assert.deepEqual(await refused({ resourceRules: [rule] }, two), [true, true]);
      assert.deepEqual(await refused({ resourceRules: [{ ...rule, resourceNames: ['y'] }] }, two), [false, true]);
      assert.deepEqual(await refused({ resourceRules: [{ ...rule, scope: 'Cluster' }] }, two), [false, false]);
      assert.deepEqual(await refused({ resourceRules: [{ ...rule, scope: 'Namespaced' }] }, two), [true, true]);
      const excludeResourceRules = [{ ...rule, resourceNames: ['y'] }];
      assert.deepEqual(await refused({ resourceRules: [rule], excludeResourceRules }, two), [true, false]);
      const objectSelector = { matchLabels: { app: 'a' } };
      assert.deepEqual(await refused({ resourceRules: [rule], objectSelector }, two), [false, true]);
      assert.deepEqual(await refused({ resourceRules: [rule], matchPolicy: 'Exact' }, two), [true, true]);
    });

    test('other versions of a kind, unless they are to be named exactly', async () => {
      const SCALERS = '/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers';
      const scaler = { maxReplicas: 2, scaleTargetRef: { kind: 'Deployment', name: 'd' } };
      const older = {
        apiGroups: ['autoscaling'],
        apiVersions: ['v1'],
        resources: ['horizontalpodautoscalers'],
        operations: ['CREATE'],
      };
      for (const [matchPolicy, expected] of [
        ['Equivalent', 422],
        ['Exact', 201],
      ] as const) {
        await create(`${ADMISSION}/validatingadmissionpolicies`, {
          metadata: { name: 'older.example.com' },
          spec: { matchConstraints: { resourceRules: [older], matchPolicy }, validations: [{ expression: 'false' }] },
        });
        await create(`${ADMISSION}/validatingadmissionpolicybindings`, {
          metadata: { name: 'older' },
          spec: { policyName: 'older.example.com', validationActions: ['Deny'] },
        });
        const { status, text } = await fixture.call('POST', `${SCALERS}?dryRun=All`, {
          body: { metadata: { name: 's' }, spec: scaler },
        });
        await fixture.call('DELETE', `${ADMISSION}/validatingadmissionpolicybindings/older`);
        await fixture.call('DELETE', `${ADMISSION}/validatingadmissionpolicies/older.example.com`);
        assert.equal(status, expected, text);
      }
    });

    test('what it notes for the audit log is named and evaluated; one that fails refuses', async () => {
      const noted = (valueExpression: string) => ({
        validations: [],
        auditAnnotations: [{ key: 'note', valueExpression }],
      });
      const constraints = { resourceRules: [rule] };
      assert.deepEqual(await refused(constraints, [['x']], noted('"made " + object.metadata.name')), [false]);
      assert.deepEqual(await refused(constraints, [['x']], noted('object.metadata.labels["none"]')), [true]);
    });
  });
});
