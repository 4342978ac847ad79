/** What is special about single kinds: what they refuse, and in which words; what their subresources and deletes do. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Answer, type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { type KindSample, kindSamples } from '#testing/kind-samples.ts';
import { REFUSED } from './kind-refusals.fixture.ts';

const SAMPLES = new Map(kindSamples().map((sample) => [sample.title, sample]));
const MERGE = { 'content-type': 'application/merge-patch+json' };

/** Kind, what is merged into the object that is there, what that answers. */
const IMMUTABLE: [string, object, RegExp][] = [
  [
    'apps/v1/deployments',
    {
      spec: {
        selector: { matchLabels: { app: 'sample', more: 'x' } },
        template: { metadata: { labels: { more: 'x' } } },
      },
    },
    /spec\.selector: Invalid value: .*: field is immutable/,
  ],
  [
    'apps/v1/statefulsets',
    { spec: { serviceName: 'other' } },
    /spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden/,
  ],
  ['apps/v1/controllerrevisions', { data: { other: 'thing' } }, /data: Invalid value: .*: field is immutable/],
  ['batch/v1/jobs', { spec: { completions: 7 } }, /spec\.completions: Invalid value: 7: field is immutable/],
  [
    'batch/v1/jobs',
    { spec: { template: { spec: { terminationGracePeriodSeconds: 7 } } } },
    /spec\.template: Invalid value: .*: field is immutable/,
  ],
  ['scheduling.k8s.io/v1/priorityclasses', { value: 5 }, /value: Forbidden: may not be changed in an update\./],
  [
    'storage.k8s.io/v1/storageclasses',
    { provisioner: 'other.dev/x' },
    /provisioner: Forbidden: updates to provisioner are forbidden\./,
  ],
  [
    'storage.k8s.io/v1/storageclasses',
    { volumeBindingMode: 'WaitForFirstConsumer' },
    /volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable/,
  ],
  [
    '/v1/persistentvolumeclaims',
    { spec: { resources: { requests: { storage: '2Gi' } } } },
    /spec: Forbidden: spec is immutable after creation except resources\.requests and volumeAttributesClassName for bound claims/,
  ],
  [
    '/v1/persistentvolumes',
    { spec: { hostPath: { path: '/other' } } },
    /spec\.persistentvolumesource: Forbidden: spec\.persistentvolumesource is immutable after creation/,
  ],
  [
    'rbac.authorization.k8s.io/v1/rolebindings',
    { roleRef: { name: 'other' } },
    /roleRef: Invalid value: .*: cannot change roleRef/,
  ],
  [
    'networking.k8s.io/v1/ingressclasses',
    { spec: { controller: 'other.dev/x' } },
    /spec\.controller: Invalid value: "other\.dev\/x": field is immutable/,
  ],
  [
    'storage.k8s.io/v1/csidrivers',
    { spec: { attachRequired: false } },
    /spec\.attachRequired: Invalid value: false: field is immutable/,
  ],
  [
    'storage.k8s.io/v1/csinodes',
    { spec: { drivers: [{ name: 'sample.example.com', nodeID: 'other' }] } },
    /CSINodeDriver: Invalid value: .*: field is immutable/,
  ],
  [
    'storage.k8s.io/v1/csistoragecapacities',
    { storageClassName: 'other' },
    /storageClassName: Invalid value: "other": field is immutable/,
  ],
  [
    'storage.k8s.io/v1/volumeattachments',
    { spec: { nodeName: 'other' } },
    /spec: Invalid value: .*: field is immutable/,
  ],
  ['node.k8s.io/v1/runtimeclasses', { handler: 'other' }, /handler: Invalid value: "other": field is immutable/],
  [
    '/v1/resourcequotas',
    { spec: { scopes: ['BestEffort'] } },
    /spec\.scopes: Invalid value: \["BestEffort"\]: field is immutable/,
  ],
];

describe('API server: single kinds', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const sampleOf = (title: string): KindSample => {
    const sample = SAMPLES.get(title);
    assert.ok(sample, title);
    return sample;
  };
  const named = (title: string, name: string, more: object = {}) => {
    const { object } = sampleOf(title);
    return { ...merged(object, more), metadata: { ...object.metadata, ...(more as typeof object).metadata, name } };
  };
  const create = async (title: string, name: string, more: object = {}): Promise<Answer> => {
    const created = await fixture.call('POST', sampleOf(title).path, { body: named(title, name, more) });
    assert.equal(created.status, 201, created.text);
    return created;
  };
  const merge = (path: string, body: object) => fixture.call('PATCH', path, { body, headers: MERGE });

  test('what cannot be is refused in the words of the API', async () => {
    for (const [title, change, message] of REFUSED) {
      const { path, object } = sampleOf(title);
      const { status, json } = await fixture.call('POST', path, { body: merged(object, change) });
      assert.deepEqual([status, json.reason], [422, 'Invalid'], `${title}: ${json.message}`);
      assert.match(json.message, message, `${title}: ${json.message}`);
    }
  });

  test('what may not change does not', async () => {
    for (const [index, [title, change, message]] of IMMUTABLE.entries()) {
      const name = `immutable-${index}`;
      await create(title, name);
      const { status, json } = await merge(`${sampleOf(title).path}/${name}`, change);
      assert.deepEqual([status, json.reason], [422, 'Invalid'], `${title}: ${json.message}`);
      assert.match(json.message, message, `${title}: ${json.message}`);
    }
  });

  test('an update creates where upstream lets it, and must name its revision where it must', async () => {
    for (const title of ['coordination.k8s.io/v1/leases', 'rbac.authorization.k8s.io/v1/roles', '/v1/endpoints']) {
      const put = await fixture.call('PUT', `${sampleOf(title).path}/by-update`, { body: named(title, 'by-update') });
      assert.equal(put.status, 201, put.text);
    }
    const other = await fixture.call('PUT', '/api/v1/namespaces/default/configmaps/by-update', {
      body: named('/v1/configmaps', 'by-update'),
    });
    assert.equal(other.status, 404);
    const lease = named('coordination.k8s.io/v1/leases', 'by-update', { spec: { holderIdentity: 'other' } });
    const blind = await fixture.call('PUT', `${sampleOf('coordination.k8s.io/v1/leases').path}/by-update`, {
      body: lease,
    });
    assert.equal(blind.status, 422);
    assert.match(blind.json.message, /metadata\.resourceVersion: Invalid value: 0x0: must be specified for an update/);
  });

  test('jobs and replication controllers leave their pods, unless they are told otherwise', async () => {
    for (const title of ['batch/v1/jobs', '/v1/replicationcontrollers']) {
      await create(title, 'parent');
      const path = `${sampleOf(title).path}/parent`;
      const orphaned = await fixture.call('DELETE', path);
      assert.deepEqual(orphaned.json.metadata.finalizers, ['orphan']);
      assert.match(String(orphaned.headers.warning), /child pods are preserved by default when \w+ are deleted/);
      await merge(path, { metadata: { finalizers: null } });
      await create(title, 'parent');
      const plain = await fixture.call('DELETE', `${path}?propagationPolicy=Background`);
      assert.deepEqual([plain.json['status'], plain.headers.warning], ['Success', undefined]);
    }
    const both = await fixture.call('DELETE', '/api/v1/namespaces/default/configmaps/x?orphanDependents=true', {
      body: { propagationPolicy: 'Orphan' },
    });
    assert.deepEqual([both.status, both.json.reason], [422, 'Invalid']);
    assert.match(both.json.message, /orphanDependents and deletionPropagation cannot be both set/);
  });

  test('a job gets a selector of its own, a daemon set counts its templates', async () => {
    const job = (await create('batch/v1/jobs', 'selecting')).json;
    const { uid = '' } = job.metadata;
    const spec = job['spec'] as { selector: object; template: { metadata: { labels: Record<string, string> } } };
    assert.deepEqual(spec.selector, { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } });
    assert.equal(spec.template.metadata.labels['job-name'], 'selecting');
    await create('apps/v1/daemonsets', 'counting');
    const path = `${sampleOf('apps/v1/daemonsets').path}/counting`;
    const changed = await merge(path, { spec: { template: { metadata: { annotations: { a: 'b' } } } } });
    assert.equal(changed.json.metadata.annotations?.['deprecated.daemonset.template.generation'], '2');
    assert.equal(changed.json.metadata.generation, 2);
  });

  test('an Event is the same in both of its groups', async () => {
    const core = sampleOf('/v1/events').path;
    const own = sampleOf('events.k8s.io/v1/events').path;
    const created = await create('events.k8s.io/v1/events', 'both', { note: 'said', deprecatedCount: 3 });
    assert.equal(created.json['note'], 'said');
    const seen = await fixture.call('GET', `${core}/both`);
    assert.deepEqual([seen.json.apiVersion, seen.json['message'], seen.json['count']], ['v1', 'said', 3]);
    await merge(`${core}/both`, { message: 'changed' });
    const back = await fixture.call('GET', `${own}?fieldSelector=regarding.name%3Dsample,metadata.name%3Dboth`);
    assert.deepEqual([back.json.items.length, back.json.items[0]?.['note']], [1, 'changed']);
    assert.equal(back.json.items[0]?.apiVersion, 'events.k8s.io/v1');
    const wrong = await fixture.call('GET', `${own}?fieldSelector=involvedObject.name%3Dsample`);
    assert.equal(wrong.status, 400);
  });

  test('an autoscaler keeps in version 1 what only version 2 can say', async () => {
    const [first, second] = ['autoscaling/v1', 'autoscaling/v2'].map(
      (version) => sampleOf(`${version}/horizontalpodautoscalers`).path,
    );
    await create('autoscaling/v1/horizontalpodautoscalers', 'both');
    const asked = (await fixture.call('GET', `${second}/both`)).json['spec'] as { metrics: object[] };
    const target = { type: 'Utilization', averageUtilization: 50 };
    assert.deepEqual(asked.metrics, [{ type: 'Resource', resource: { name: 'cpu', target } }]);
    const pods = { metric: { name: 'hits' }, target: { type: 'AverageValue', averageValue: '10' } };
    await merge(`${second}/both`, { spec: { metrics: [...asked.metrics, { type: 'Pods', pods }] } });
    const old = await fixture.call('GET', `${first}/both`);
    assert.match(String(old.json.metadata.annotations?.['autoscaling.alpha.kubernetes.io/metrics']), /"hits"/);
    const put = await fixture.call('PUT', `${first}/both`, {
      body: { ...old.json, spec: { ...(old.json['spec'] as object), targetCPUUtilizationPercentage: 60 } },
    });
    assert.equal(put.status, 200, put.text);
    const { json } = await fixture.call('GET', `${second}/both`);
    const { metrics } = json['spec'] as { metrics: object[] };
    assert.deepEqual(metrics.at(-1), { type: 'Pods', pods });
    assert.equal(metrics.length, 2);
    assert.equal(json.metadata.annotations, undefined);
  });

  test('a signing request says who asked; approval has a subresource of its own', async () => {
    const title = 'certificates.k8s.io/v1/certificatesigningrequests';
    const created = await create(title, 'asked', { spec: { username: 'somebody else' } });
    const spec = created.json['spec'] as { username: string; groups: string[] };
    assert.deepEqual([spec.username, spec.groups.includes('system:masters')], ['admin', true]);
    const own = `${sampleOf(title).path}/asked`;
    const approved = { status: { conditions: [{ type: 'Approved', status: 'True', reason: 'Tested' }] } };
    const refused = await merge(`${own}/status`, approved);
    assert.match(refused.json.message, /updates may not add a condition of type "Approved"/);
    assert.equal((await merge(`${own}/approval`, approved)).status, 200);
    const denied = await merge(`${own}/approval`, {
      status: { conditions: [...approved.status.conditions, { type: 'Denied', status: 'True' }] },
    });
    assert.match(denied.json.message, /Approved and Denied conditions are mutually exclusive/);
    const issued = await merge(`${own}/status`, { status: { certificate: Buffer.from('x').toString('base64') } });
    assert.equal(issued.status, 200, issued.text);
    const changed = await merge(own, { spec: { signerName: 'other.dev/x' } });
    assert.equal((changed.json['spec'] as { signerName: string }).signerName, 'sampan.dev/sample');
  });

  test('ephemeral containers are added to a pod, and stay', async () => {
    await create('/v1/pods', 'debugged');
    const own = `${sampleOf('/v1/pods').path}/debugged`;
    const add = (container: object) =>
      fixture.call('PATCH', `${own}/ephemeralcontainers`, {
        body: { spec: { ephemeralContainers: [container] } },
        headers: { 'content-type': 'application/strategic-merge-patch+json' },
      });
    const added = await add({ name: 'debugger', image: 'a:1', targetContainerName: 'main' });
    assert.equal(added.status, 200, added.text);
    assert.match(
      (await add({ name: 'main', image: 'a:1' })).json.message,
      /ephemeralContainers\[\d\]\.name: Duplicate value: "main"/,
    );
    assert.match(
      (await add({ name: 'debugger', image: 'b:1' })).json.message,
      /existing ephemeral containers "debugger" may not be changed/,
    );
    assert.match(
      (await add({ name: 'x', image: 'a:1', ports: [{ containerPort: 1 }] })).json.message,
      /ports: Forbidden: cannot be set for an Ephemeral Container/,
    );
    const elsewhere = await merge(own, { spec: { ephemeralContainers: null } });
    assert.match(elsewhere.json.message, /spec: Forbidden: pod updates may not change fields other than/);
    const { spec } = (await fixture.call('GET', own)).json as unknown as { spec: { ephemeralContainers: object[] } };
    assert.equal(spec.ephemeralContainers.length, 1);
  });

  test('an eviction asks the disruption budget', async () => {
    const ready = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    for (const name of ['evicted-1', 'evicted-2']) {
      await create('/v1/pods', name, { metadata: { labels: { app: 'sample' } } });
      await merge(`${sampleOf('/v1/pods').path}/${name}/status`, { status: ready });
    }
    const evict = (name: string, more: object = {}) =>
      fixture.call('POST', `${sampleOf('/v1/pods').path}/${name}/eviction`, {
        body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name }, ...more },
      });
    await create('policy/v1/poddisruptionbudgets', 'guard');
    const early = await evict('evicted-1');
    assert.deepEqual([early.status, early.json.reason, early.headers['retry-after']], [429, 'TooManyRequests', '10']);
    const status = {
      disruptionsAllowed: 1,
      currentHealthy: 2,
      desiredHealthy: 1,
      expectedPods: 2,
      observedGeneration: 1,
    };
    await merge(`${sampleOf('policy/v1/poddisruptionbudgets').path}/guard/status`, { status });
    const tried = await evict('evicted-1', { deleteOptions: { dryRun: ['All'] } });
    assert.equal(tried.status, 201, tried.text);
    const done = await evict('evicted-1');
    assert.deepEqual([done.status, done.json['status']], [201, 'Success'], done.text);
    assert.equal((await fixture.call('GET', `${sampleOf('/v1/pods').path}/evicted-1`)).status, 404);
    const refused = await evict('evicted-2');
    assert.equal(refused.json.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    const { causes } = refused.json['details'] as { causes: object[] };
    assert.deepEqual(causes, [
      { reason: 'DisruptionBudget', message: 'The disruption budget guard needs 1 healthy pods and has 2 currently' },
    ]);
    const guard = await fixture.call('GET', `${sampleOf('policy/v1/poddisruptionbudgets').path}/guard`);
    assert.deepEqual(Object.keys((guard.json['status'] as { disruptedPods: object }).disruptedPods), ['evicted-1']);
  });

  test('the deprecated component statuses are an empty list, with a warning', async () => {
    const { status, json, headers } = await fixture.call('GET', '/api/v1/componentstatuses');
    assert.deepEqual([status, json.kind, json.items], [200, 'ComponentStatusList', []]);
    assert.match(String(headers.warning), /v1 ComponentStatus is deprecated in v1\.19\+/);
    assert.equal((await fixture.call('POST', '/api/v1/componentstatuses', { body: {} })).status, 405);
  });
});

/** As a merge patch would. */
function merged(target: Record<string, unknown>, change: object): Record<string, unknown> {
  const result: Record<string, unknown> = { ...target };
  for (const [key, value] of Object.entries(change) as [string, unknown][]) {
    const before = result[key];
    if (value === null) delete result[key];
    else if (typeof value === 'object' && !Array.isArray(value))
      result[key] = merged(
        (typeof before === 'object' && !Array.isArray(before) ? before : {}) as Record<string, unknown>,
        value as object,
      );
    else result[key] = value;
  }
  return result;
}
