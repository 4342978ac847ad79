import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { type Answer, type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const NAMESPACE = '/api/v1/namespaces/default';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const kubectl = spawnSync('kubectl', ['version', '--client']).status === 0;

describe('API server: who manages which field', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const apply = (path: string, manager: string, body: object, more = ''): Promise<Answer> =>
    fixture.call('PATCH', `${path}?fieldManager=${manager}${more}`, {
      body,
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
  const map = (name: string, data?: object, metadata: object = {}) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, ...metadata },
    ...(data === undefined ? {} : { data }),
  });
  const fieldsOf = ({ json }: Answer, manager: string, subresource?: string) =>
    json.metadata.managedFields?.find((one) => one.manager === manager && one.subresource === subresource)?.fieldsV1;
  const service = (name: string, ports: object[]) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app: name }, ports },
  });

  test('two writings of one quantity are no conflict, and no change', async () => {
    const path = `${NAMESPACE}/resourcequotas/quantities`;
    const quota = (cpu: string | number) => ({
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'quantities' },
      spec: { hard: { cpu } },
    });
    const first = await apply(path, 'one', quota('0.5'));
    assert.equal(first.status, 201);
    assert.match(JSON.stringify(first.json['spec']), /"hard":\{"cpu":"500m"\}/);
    const second = await apply(path, 'two', quota('500m'));
    assert.equal(second.status, 200);
    const put = await fixture.call('PUT', path, { body: { ...second.json, ...{ spec: quota(0.5).spec } } });
    assert.equal(put.status, 200);
    assert.equal(put.json.metadata.resourceVersion, second.json.metadata.resourceVersion);
    const wrong = await fixture.call('PUT', path, { body: quota('half') });
    assert.equal(wrong.status, 400);
    assert.match(wrong.json['message'] as string, /spec\.hard\.cpu: quantities must match the regular/);
  });

  test('what is created belongs to its creator, as upstream writes it', async () => {
    const container = { name: 'main', image: 'a:1', ports: [{ containerPort: 80 }] };
    const created = await fixture.call('POST', `${DEPLOYMENTS}?fieldManager=creator`, {
      body: {
        metadata: { name: 'created', labels: { app: 'x' } },
        spec: {
          selector: { matchLabels: { app: 'x' } },
          template: { metadata: { labels: { app: 'x' } }, spec: { containers: [container] } },
        },
      },
    });
    const [entry] = created.json.metadata.managedFields ?? [];
    assert.deepEqual([entry?.manager, entry?.operation, entry?.apiVersion], ['creator', 'Update', 'apps/v1']);
    const fields = entry?.fieldsV1 as Record<string, Record<string, Record<string, unknown>>>;
    assert.deepEqual(fields['f:metadata'], { 'f:labels': { '.': {}, 'f:app': {} } });
    assert.deepEqual(fields['f:spec']?.['f:strategy'], {
      'f:type': {},
      'f:rollingUpdate': { '.': {}, 'f:maxSurge': {}, 'f:maxUnavailable': {} },
    });
    const pod = fields['f:spec']?.['f:template']?.['f:spec'] as Record<string, Record<string, object>>;
    assert.deepEqual(pod['f:containers']?.['k:{"name":"main"}'], {
      '.': {},
      'f:name': {},
      'f:image': {},
      'f:imagePullPolicy': {},
      'f:resources': {},
      'f:terminationMessagePath': {},
      'f:terminationMessagePolicy': {},
      'f:ports': {
        '.': {},
        'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {}, 'f:protocol': {} },
      },
    });
  });

  test('an update takes what it changes, and leaves the rest', async () => {
    const path = `${NAMESPACE}/configmaps`;
    await fixture.call('POST', `${path}?fieldManager=one`, { body: map('shared', { a: '1', b: '1', c: '1' }) });
    const updated = await fixture.call('PATCH', `${path}/shared?fieldManager=two`, {
      body: { data: { b: '2', c: null } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.deepEqual(fieldsOf(updated, 'one'), { 'f:data': { '.': {}, 'f:a': {} } });
    assert.deepEqual(fieldsOf(updated, 'two'), { 'f:data': { 'f:b': {} } });
    const cleared = await fixture.call('PATCH', `${path}/shared`, {
      body: { metadata: { managedFields: [{}] } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(cleared.json.metadata.managedFields, undefined);
    const again = await apply(`${path}/shared`, 'three', map('shared', { a: '1' }));
    assert.ok(fieldsOf(again, 'before-first-apply'));
  });

  test('what says nothing is owned by who applies it, and not kept', async () => {
    const path = `${NAMESPACE}/services/nothing`;
    const whole = service('nothing', [{ port: 80 }]);
    const said = {
      ...whole,
      metadata: { name: 'nothing', labels: {} },
      spec: { ...whole.spec, sessionAffinity: '', publishNotReadyAddresses: false },
    };
    const made = await apply(path, 'one', said);
    assert.equal(made.status, 201, made.text);
    const { sessionAffinity, publishNotReadyAddresses } = made.json['spec'] as Record<string, unknown>;
    assert.deepEqual(
      [made.json.metadata.labels, sessionAffinity, publishNotReadyAddresses],
      [undefined, 'None', undefined],
    );
    const owned = fieldsOf(made, 'one') as { 'f:metadata': object; 'f:spec': object };
    assert.deepEqual(owned['f:metadata'], { 'f:labels': {} });
    assert.ok('f:publishNotReadyAddresses' in owned['f:spec']);
    assert.equal((await apply(path, 'one', said)).json.metadata.resourceVersion, made.json.metadata.resourceVersion);
  });

  test('what a manager no longer applies is gone, unless another holds it', async () => {
    const path = `${NAMESPACE}/configmaps/omitted`;
    await apply(path, 'one', map('omitted', { a: '1', shared: 'x' }));
    await apply(path, 'two', map('omitted', { shared: 'x', b: '2' }));
    const less = await apply(path, 'one', map('omitted', {}));
    assert.deepEqual(less.json['data'], { shared: 'x', b: '2' });
    const given = await apply(path, 'two', map('omitted', { b: '2' }));
    assert.deepEqual(given.json['data'], { b: '2' });
    const same = await apply(path, 'two', map('omitted', { b: '2' }));
    assert.equal(same.json.metadata.resourceVersion, given.json.metadata.resourceVersion, 'nothing changed');
  });

  test('conflicts name every field and manager; force takes them over; agreeing is no conflict', async () => {
    const path = `${NAMESPACE}/configmaps/fought`;
    await apply(path, 'one', map('fought', { a: '1', b: '1' }));
    const agreed = await apply(path, 'two', map('fought', { a: '1' }));
    assert.equal(agreed.status, 200);
    const refused = await apply(path, 'three', map('fought', { a: '3', b: '3' }));
    assert.equal(refused.status, 409);
    assert.equal(
      refused.json.message,
      'Apply failed with 3 conflicts: conflict with "one" using v1: .data.a\nconflict with "one" using v1: .data.b\nconflict with "two" using v1: .data.a',
    );
    const causes = (refused.json['details'] as { causes: { reason: string; field: string }[] }).causes;
    assert.deepEqual(
      causes.map(({ reason }) => reason),
      Array(3).fill('FieldManagerConflict'),
    );
    const forced = await apply(path, 'three', map('fought', { a: '3', b: '3' }), '&force=true');
    assert.deepEqual(forced.json['data'], { a: '3', b: '3' });
    assert.equal(fieldsOf(forced, 'one'), undefined);
    assert.deepEqual(fieldsOf(forced, 'three'), { 'f:data': { 'f:a': {}, 'f:b': {} } });
  });

  test('lists are merged by their keys, sets by value, atomic ones as a whole', async () => {
    const path = `${NAMESPACE}/services/listed`;
    await apply(path, 'one', service('listed', [{ port: 80, name: 'http' }]));
    const both = await apply(path, 'two', {
      ...service('listed', [{ port: 443, name: 'https' }]),
      metadata: { name: 'listed', finalizers: ['example.com/two'] },
    });
    assert.equal(both.status, 200, both.text);
    const ports = (answer: Answer) =>
      (answer.json['spec'] as { ports: { port: number }[] }).ports.map(({ port }) => port);
    assert.deepEqual(ports(both).sort(), [443, 80]);
    const sets = await apply(path, 'three', {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'listed', finalizers: ['example.com/three'] },
    });
    assert.deepEqual(sets.json.metadata.finalizers?.sort(), ['example.com/three', 'example.com/two']);
    const one = await apply(path, 'one', { ...service('listed', []), spec: { selector: { app: 'listed' } } });
    assert.deepEqual(ports(one), [443]);
    const selector = await apply(path, 'four', { ...service('listed', []), spec: { selector: { other: 'x' } } });
    assert.equal(selector.status, 409, 'a selector is one thing');
    await apply(path, 'two', service('listed', [{ port: 443, name: 'https' }]));
    await apply(path, 'three', { apiVersion: 'v1', kind: 'Service', metadata: { name: 'listed' } });
  });

  test('two items under one name are refused', async () => {
    const ports = [
      { port: 80, name: 'a' },
      { port: 80, name: 'b' },
    ];
    const { status, json } = await apply(`${NAMESPACE}/services/twice`, 'one', service('twice', ports));
    assert.equal(status, 400);
    assert.match(json.message, /: \.spec\.ports: duplicate entries for key \[port=80,protocol="TCP"\]$/);
  });

  test('a status is managed apart', async () => {
    const path = `${DEPLOYMENTS}/parted`;
    const template = { metadata: { labels: { app: 'y' } }, spec: { containers: [{ name: 'main', image: 'a:1' }] } };
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'parted' } };
    await apply(path, 'one', { ...deployment, spec: { selector: { matchLabels: { app: 'y' } }, template } });
    const status = await apply(`${path}/status`, 'one', { ...deployment, status: { replicas: 3 } });
    assert.deepEqual(fieldsOf(status, 'one', 'status'), { 'f:status': { 'f:replicas': {} } });
    const forgotten = await apply(path, 'one', {
      ...deployment,
      spec: { selector: { matchLabels: { app: 'y' } }, template },
    });
    assert.deepEqual((forgotten.json['status'] as { replicas: number }).replicas, 3);
    const scaled = await fixture.call('PATCH', `${path}/scale?fieldManager=scaler`, {
      body: { spec: { replicas: 4 } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(scaled.status, 200, scaled.text);
    assert.deepEqual(fieldsOf(await fixture.call('GET', path), 'scaler', 'scale'), { 'f:spec': { 'f:replicas': {} } });
  });

  test('many single writers become one', async () => {
    const path = `${NAMESPACE}/configmaps`;
    await fixture.call('POST', `${path}?fieldManager=writer-00`, { body: map('many', { first: '0' }) });
    let last: Answer | undefined;
    for (let at = 1; at < 14; at++)
      last = await fixture.call('PATCH', `${path}/many?fieldManager=writer-${String(at).padStart(2, '0')}`, {
        body: { data: { [`key-${at}`]: 'x' } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
    const managers = last?.json.metadata.managedFields?.map(({ manager }) => manager) ?? [];
    assert.equal(managers.length, 10);
    assert.ok(managers.includes('ancient-changes') && managers.includes('writer-13'), managers.join());
  });

  test('kubectl goes from applying itself to the server', {
    skip: kubectl ? false : 'kubectl is not installed',
  }, async () => {
    const text = (data: object) => JSON.stringify(map('migrated', data));
    const run = async (data: object, ...args: string[]) => {
      const { code, err } = await fixture.kubectl(['apply', ...args, '-f', '-'], { input: text(data) });
      assert.equal(code, 0, err);
      return fixture.call('GET', `${NAMESPACE}/configmaps/migrated`);
    };
    const first = await run({ a: '1', b: '1' });
    assert.ok(fieldsOf(first, 'kubectl-client-side-apply'));
    const second = await run({ a: '2' }, '--server-side');
    assert.deepEqual(second.json['data'], { a: '2' }, 'what it no longer applies is gone');
    const managers = second.json.metadata.managedFields?.map(({ manager, operation }) => `${manager} ${operation}`);
    // The annotation has a manager of its own, so that applying on the client still works.
    assert.deepEqual(managers?.sort(), ['kubectl Apply', 'kubectl-last-applied Apply']);
    assert.match(second.json.metadata.annotations?.[LAST_APPLIED] ?? '', /"a":"2"/);
    const third = await run({ c: '3' });
    assert.deepEqual(third.json['data'], { c: '3' }, 'and back');
  });
});
