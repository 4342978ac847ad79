import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const PODS = '/api/v1/namespaces/default/pods';
const pod = (name: string, more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name },
  spec: { containers: [{ name: 'main', image: 'a:1' }], ...more },
});

describe('API server: verbs', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  test('an object is created, read, replaced and deleted', async () => {
    const created = await fixture.call('POST', MAPS, { body: { metadata: { name: 'a' }, data: { k: 'v' } } });
    assert.equal(created.status, 201);
    assert.equal(created.json.kind, 'ConfigMap');
    assert.match(created.json.metadata.uid ?? '', /^[0-9a-f-]{36}$/);
    assert.match(created.json.metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const got = await fixture.call('GET', `${MAPS}/a`);
    assert.deepEqual(got.json, created.json);
    const replaced = await fixture.call('PUT', `${MAPS}/a`, { body: { ...got.json, data: { k: 'w' } } });
    assert.equal(replaced.status, 200);
    assert.notEqual(replaced.json.metadata.resourceVersion, got.json.metadata.resourceVersion);
    const stale = await fixture.call('PUT', `${MAPS}/a`, { body: got.json });
    assert.equal(stale.status, 409);
    assert.equal(
      stale.json.message,
      'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
    );
    const same = await fixture.call('PUT', `${MAPS}/a`, { body: replaced.json });
    assert.equal(same.json.metadata.resourceVersion, replaced.json.metadata.resourceVersion, 'nothing changed');
    const again = await fixture.call('POST', MAPS, { body: { metadata: { name: 'a' } } });
    assert.deepEqual(
      [again.status, again.json.reason, again.json.message],
      [409, 'AlreadyExists', 'configmaps "a" already exists'],
    );
    const deleted = await fixture.call('DELETE', `${MAPS}/a`);
    assert.deepEqual([deleted.status, deleted.json['status']], [200, 'Success']);
    const gone = await fixture.call('GET', `${MAPS}/a`);
    assert.deepEqual([gone.status, gone.json.reason, gone.json.message], [404, 'NotFound', 'configmaps "a" not found']);
    const absent = await fixture.call('GET', '/apis/apps/v1/namespaces/default/deployments/none');
    assert.deepEqual(absent.json['details'], { name: 'none', group: 'apps', kind: 'deployments' });
  });

  test('names are generated', async () => {
    const created = await fixture.call('POST', MAPS, { body: { metadata: { generateName: 'gen-' } } });
    assert.match(created.json.metadata.name ?? '', /^gen-[a-z0-9]{5}$/);
  });

  test('a dry run changes nothing', async () => {
    const created = await fixture.call('POST', `${MAPS}?dryRun=All`, { body: { metadata: { name: 'dry' } } });
    assert.equal(created.status, 201);
    assert.equal((await fixture.call('GET', `${MAPS}/dry`)).status, 404);
    const wrong = await fixture.call('POST', `${MAPS}?dryRun=Some`, { body: { metadata: { name: 'dry' } } });
    assert.equal(wrong.status, 422);
    assert.match(wrong.json.message, /^CreateOptions\.meta\.k8s\.io "" is invalid: dryRun: Unsupported value/);
  });

  test('lists come in pages that show one revision', async () => {
    const path = '/api/v1/namespaces/pages/configmaps';
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'pages' } } });
    for (const name of ['a', 'b', 'c', 'd']) await fixture.call('POST', path, { body: { metadata: { name } } });
    const first = await fixture.call('GET', `${path}?limit=2`);
    const metadata = first.json.metadata as { continue?: string; remainingItemCount?: number; resourceVersion: string };
    assert.deepEqual(
      first.json.items.map((item) => item.metadata.name),
      ['a', 'b'],
    );
    assert.equal(metadata.remainingItemCount, 2);
    await fixture.call('DELETE', `${path}/c`);
    await fixture.call('POST', path, { body: { metadata: { name: 'cc' } } });
    const second = await fixture.call('GET', `${path}?limit=2&continue=${metadata.continue}`);
    assert.deepEqual(
      second.json.items.map((item) => item.metadata.name),
      ['c', 'd'],
      'as it was at the first page',
    );
    assert.equal(second.json.metadata.resourceVersion, metadata.resourceVersion);
    const exact = await fixture.call(
      'GET',
      `${path}?resourceVersion=${metadata.resourceVersion}&resourceVersionMatch=Exact`,
    );
    assert.equal(exact.json.items.length, 4);
    const now = await fixture.call('GET', `${path}?resourceVersion=0`);
    assert.deepEqual(
      now.json.items.map((item) => item.metadata.name),
      ['a', 'b', 'cc', 'd'],
    );
    const future = await fixture.call('GET', `${path}?resourceVersion=999999`);
    assert.equal(future.status, 504);
    assert.equal((await fixture.call('GET', `${path}?continue=nonsense`)).status, 400);
  });

  test('selectors choose by labels and fields', async () => {
    for (const [name, labels] of Object.entries({
      s1: { app: 'x', tier: '1' },
      s2: { app: 'x', tier: '2' },
      s3: { app: 'y' },
    }))
      await fixture.call('POST', MAPS, { body: { metadata: { name, labels } } });
    const names = async (query: string) =>
      (await fixture.call('GET', `${MAPS}?${query}`)).json.items
        .map((item) => item.metadata.name)
        .filter((name) => name?.startsWith('s'));
    assert.deepEqual(await names('labelSelector=app%3Dx'), ['s1', 's2']);
    assert.deepEqual(await names('labelSelector=app%20in%20(x,y),tier'), ['s1', 's2']);
    assert.deepEqual(await names('labelSelector=app,!tier'), ['s3']);
    assert.deepEqual(await names('labelSelector=tier%20notin%20(1),app!%3Dy'), ['s2']);
    assert.deepEqual(await names('fieldSelector=metadata.name%3Ds3'), ['s3']);
    const unknown = await fixture.call('GET', `${MAPS}?fieldSelector=spec.x%3Dy`);
    assert.deepEqual([unknown.status, unknown.json.message], [400, 'field label not supported: spec.x']);
    const malformed = await fixture.call('GET', `${MAPS}?labelSelector=a%20in%20x`);
    assert.equal(malformed.status, 400);
  });

  test('large lists are compressed for who can read them', async () => {
    const path = '/api/v1/namespaces/large/configmaps';
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'large' } } });
    await fixture.call('POST', path, { body: { metadata: { name: 'big' }, data: { text: 'x'.repeat(200_000) } } });
    const plain = await fixture.call('GET', path);
    const agent = await fixture.call('GET', path, { headers: { 'accept-encoding': 'gzip' } });
    assert.equal(agent.headers['content-encoding'], 'gzip');
    assert.ok(Number(agent.headers['content-length']) < 5000);
    assert.equal(plain.json.items.length, 1);
  });

  test('what is wrong is named with its field', async () => {
    const invalid = await fixture.call('POST', PODS, {
      body: {
        metadata: { name: 'Up' },
        spec: { restartPolicy: 'Often', containers: [{ name: 'x', ports: [{ containerPort: 0 }] }] },
      },
    });
    assert.deepEqual([invalid.status, invalid.json.reason], [422, 'Invalid']);
    const causes = (invalid.json['details'] as { causes: { field: string; reason: string }[] }).causes;
    assert.deepEqual(
      causes.map(({ field, reason }) => [field, reason]),
      [
        ['metadata.name', 'FieldValueInvalid'],
        ['spec.containers[0].image', 'FieldValueRequired'],
        ['spec.containers[0].ports[0].containerPort', 'FieldValueRequired'],
        ['spec.restartPolicy', 'FieldValueNotSupported'],
      ],
    );
    const type = await fixture.call('POST', PODS, { body: { metadata: { name: 'p' }, spec: { containers: 'x' } } });
    assert.equal(type.status, 400);
    assert.match(
      type.json.message,
      /Pod in version "v1" cannot be handled as a Pod: spec.containers: expected an array, got the string "x"/,
    );
    const json = await fixture.call('POST', PODS, { body: '{"metadata": {"name": }' });
    assert.equal(json.status, 400);
    assert.match(json.json.message, /not valid JSON: .*"name": }/);
    const large = await fixture.call('POST', MAPS, { body: 'x'.repeat(3 * 1024 * 1024 + 1) });
    assert.deepEqual([large.status, large.json.reason], [413, 'RequestEntityTooLarge']);
    const deep = await fixture.call('POST', MAPS, {
      body: `{"metadata":{"name":"d"},"data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    });
    assert.equal(deep.status, 400);
    assert.equal(
      (await fixture.call('POST', MAPS, { body: { apiVersion: 'v2', metadata: { name: 'x' } } })).status,
      400,
    );
    assert.equal((await fixture.call('GET', '/api/v1/nonsense')).status, 404);
    assert.equal((await fixture.call('BREW', PODS)).status, 400);
  });

  test('unknown fields are dropped, told of, or refused', async () => {
    const body = { metadata: { name: 'u' }, spec: { containers: [{ name: 'main', image: 'a', imagee: 'b' }] } };
    const warned = await fixture.call('POST', `${PODS}?dryRun=All&fieldValidation=Warn`, { body });
    assert.equal(warned.headers['warning'], '299 - "unknown field \\"spec.containers[0].imagee\\""');
    assert.ok(!warned.text.includes('imagee'));
    const ignored = await fixture.call('POST', `${PODS}?dryRun=All&fieldValidation=Ignore`, { body });
    assert.equal(ignored.headers['warning'], undefined);
    const strict = await fixture.call('POST', `${PODS}?fieldValidation=Strict`, { body });
    assert.equal(strict.status, 400);
    assert.match(strict.json.message, /strict decoding error: unknown field "spec.containers\[0\].imagee"/);
  });

  test('a null is an absent field, and an empty string in a map of strings', async () => {
    const { json } = await fixture.call('POST', `${PODS}?dryRun=All`, {
      body: {
        metadata: { name: 'null', labels: { a: null }, creationTimestamp: null },
        spec: { nodeName: null, containers: [{ name: 'main', image: 'a', env: null }] },
      },
    });
    assert.deepEqual(json.metadata.labels, { a: '' });
    assert.ok(!('env' in ((json['spec'] as { containers: object[] }).containers[0] ?? {})));
  });

  test('patches: JSON, merge, strategic merge', async () => {
    await fixture.call('POST', PODS, { body: pod('patched', { tolerations: [{ key: 'a', operator: 'Exists' }] }) });
    const patch = (type: string, body: unknown) =>
      fixture.call('PATCH', `${PODS}/patched`, { body, headers: { 'content-type': `application/${type}` } });
    const merge = await patch('merge-patch+json', { metadata: { labels: { a: '1', b: '2' } } });
    assert.deepEqual(merge.json.metadata.labels, { a: '1', b: '2' });
    const json = await patch('json-patch+json', [
      { op: 'test', path: '/metadata/labels/a', value: '1' },
      { op: 'remove', path: '/metadata/labels/a' },
    ]);
    assert.deepEqual(json.json.metadata.labels, { b: '2' });
    const failing = await patch('json-patch+json', [{ op: 'test', path: '/metadata/labels/b', value: 'x' }]);
    assert.equal(failing.status, 422);
    const strategic = await patch('strategic-merge-patch+json', {
      spec: { containers: [{ name: 'main', image: 'a:2' }] },
    });
    const { containers } = strategic.json['spec'] as {
      containers: { name: string; image: string; imagePullPolicy: string }[];
    };
    assert.deepEqual(
      containers.map(({ image, imagePullPolicy }) => [image, imagePullPolicy]),
      [['a:2', 'IfNotPresent']],
    );
    const forbidden = await patch('merge-patch+json', { spec: { hostNetwork: true } });
    assert.equal(forbidden.status, 422);
    assert.match(forbidden.json.message, /pod updates may not change fields other than/);
    const polluting = await patch(
      'merge-patch+json',
      '{"metadata":{"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}}}}',
    );
    assert.ok(polluting.status < 500);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    assert.equal((await patch('nonsense', {})).status, 415);
    const stale = await patch('merge-patch+json', { metadata: { resourceVersion: '1', labels: { z: '1' } } });
    assert.equal(stale.status, 409);
  });

  test('status and the rest are written apart', async () => {
    const created = await fixture.call('POST', PODS, { body: { ...pod('parts'), status: { phase: 'Running' } } });
    assert.deepEqual(created.json['status'], { phase: 'Pending', qosClass: 'BestEffort' });
    const status = await fixture.call('PATCH', `${PODS}/parts/status`, {
      body: { metadata: { labels: { a: 'b' } }, status: { phase: 'Running', podIP: '10.0.0.1' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal((status.json['status'] as { phase: string }).phase, 'Running');
    assert.deepEqual(status.json.metadata.labels, { a: 'b' });
    const main = await fixture.call('PATCH', `${PODS}/parts`, {
      body: { metadata: { labels: { a: 'c' } }, status: { phase: 'Failed' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal((main.json['status'] as { phase: string }).phase, 'Running');
    assert.deepEqual(main.json.metadata.labels, { a: 'c' });
  });

  test('generation counts what is desired, scale changes it', async () => {
    const path = '/apis/apps/v1/namespaces/default/deployments';
    const body = {
      metadata: { name: 'd' },
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    };
    const created = await fixture.call('POST', path, { body });
    assert.equal(created.json.metadata.generation, 1);
    const scale = await fixture.call('GET', `${path}/d/scale`);
    assert.deepEqual(
      [scale.json.kind, scale.json['spec'], scale.json['status']],
      ['Scale', { replicas: 1 }, { replicas: 0, selector: 'a=b' }],
    );
    const scaled = await fixture.call('PATCH', `${path}/d/scale`, {
      body: { spec: { replicas: 3 } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.deepEqual(scaled.json['spec'], { replicas: 3 });
    const status = await fixture.call('PATCH', `${path}/d/status`, {
      body: { status: { readyReplicas: 2 } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(status.json.metadata.generation, 2);
    const labelled = await fixture.call('PATCH', `${path}/d`, {
      body: { metadata: { labels: { x: 'y' } } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(labelled.json.metadata.generation, 2);
    const negative = await fixture.call('PUT', `${path}/d/scale`, { body: { ...scale.json, spec: { replicas: -1 } } });
    assert.equal(negative.status, 422);
  });

  test('pods stop with grace, and are gone at once when they are on no node', async () => {
    await fixture.call('POST', PODS, { body: pod('unbound') });
    await fixture.call('DELETE', `${PODS}/unbound`);
    assert.equal((await fixture.call('GET', `${PODS}/unbound`)).status, 404);
    await fixture.call('POST', PODS, { body: pod('bound') });
    const binding = { target: { kind: 'Node', name: 'n1' } };
    assert.equal((await fixture.call('POST', `${PODS}/bound/binding`, { body: binding })).status, 201);
    const twice = await fixture.call('POST', `${PODS}/bound/binding`, { body: binding });
    assert.deepEqual(
      [twice.status, twice.json.message],
      [409, 'Operation cannot be fulfilled on pods "bound": pod bound is already assigned to node "n1"'],
    );
    const stopping = await fixture.call('DELETE', `${PODS}/bound`, { body: { gracePeriodSeconds: 20 } });
    assert.equal(stopping.json.metadata?.deletionGracePeriodSeconds, 20, stopping.text);
    assert.ok(stopping.json.metadata.deletionTimestamp);
    const longer = await fixture.call('DELETE', `${PODS}/bound`, { body: { gracePeriodSeconds: 30 } });
    assert.equal(longer.json.metadata?.deletionGracePeriodSeconds, 20, longer.text);
    assert.equal(
      (await fixture.call('DELETE', `${PODS}/bound`, { body: { preconditions: { uid: 'x' } } })).status,
      409,
    );
    await fixture.call('DELETE', `${PODS}/bound?gracePeriodSeconds=0`);
    assert.equal((await fixture.call('GET', `${PODS}/bound`)).status, 404);
  });

  test('finalizers hold an object until they are gone', async () => {
    await fixture.call('POST', MAPS, { body: { metadata: { name: 'held', finalizers: ['example.com/hold'] } } });
    const deleting = await fixture.call('DELETE', `${MAPS}/held`);
    assert.ok(deleting.json.metadata.deletionTimestamp);
    const more = await fixture.call('PATCH', `${MAPS}/held`, {
      body: { metadata: { finalizers: ['example.com/hold', 'example.com/b'] } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(more.status, 422);
    await fixture.call('PATCH', `${MAPS}/held`, {
      body: { metadata: { finalizers: null } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal((await fixture.call('GET', `${MAPS}/held`)).status, 404);
    await fixture.call('POST', MAPS, { body: { metadata: { name: 'fore' } } });
    const foreground = await fixture.call('DELETE', `${MAPS}/fore?propagationPolicy=Foreground`);
    assert.deepEqual(foreground.json.metadata.finalizers, ['foregroundDeletion']);
  });

  test('a namespace is there before, and gone after what is in it', async () => {
    const missing = await fixture.call('POST', '/api/v1/namespaces/nowhere/configmaps', {
      body: { metadata: { name: 'a' } },
    });
    assert.deepEqual([missing.status, missing.json.message], [404, 'namespaces "nowhere" not found']);
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'going' } } });
    const going = await fixture.call('DELETE', '/api/v1/namespaces/going');
    assert.deepEqual(going.json['status'], { phase: 'Terminating' });
    const late = await fixture.call('POST', '/api/v1/namespaces/going/configmaps', {
      body: { metadata: { name: 'a' } },
    });
    assert.deepEqual([late.status, late.json.reason], [403, 'Forbidden']);
    assert.match(late.json.message, /because it is being terminated/);
    const finalized = await fixture.call('PUT', '/api/v1/namespaces/going/finalize', {
      body: { ...going.json, spec: { finalizers: [] } },
    });
    assert.equal(finalized.status, 200);
    assert.equal((await fixture.call('GET', '/api/v1/namespaces/going')).status, 404);
  });

  test('services get addresses of their own, once each', async () => {
    const path = '/api/v1/namespaces/default/services';
    const service = (name: string, spec: object = {}) => ({
      metadata: { name },
      spec: { ports: [{ port: 80 }], ...spec },
    });
    const created = await Promise.all(
      Array.from({ length: 20 }, (_, index) => fixture.call('POST', path, { body: service(`svc-${index}`) })),
    );
    const addresses = created.map(({ json }) => (json['spec'] as { clusterIP: string }).clusterIP);
    assert.equal(new Set(addresses).size, 20);
    for (const address of addresses) assert.match(address, /^10\.96\.0\.\d+$/);
    const taken = await fixture.call('POST', path, { body: service('taken', { clusterIP: addresses[0] }) });
    assert.match(taken.json.message, /provided IP is already allocated/);
    const outside = await fixture.call('POST', path, { body: service('outside', { clusterIP: '192.0.2.1' }) });
    assert.match(outside.json.message, /not in the valid range/);
    const headless = await fixture.call('POST', path, { body: service('headless', { clusterIP: 'None' }) });
    assert.equal((headless.json['spec'] as { clusterIP: string }).clusterIP, 'None');
    const applied = await fixture.call('PUT', `${path}/svc-0`, { body: service('svc-0', { selector: { a: 'b' } }) });
    assert.equal((applied.json['spec'] as { clusterIP: string }).clusterIP, addresses[0]);
    await fixture.call('DELETE', `${path}/svc-0`);
    const reused = await fixture.call('POST', path, { body: service('reused', { clusterIP: addresses[0] }) });
    assert.equal(reused.status, 201);
    const port = await fixture.call('POST', path, { body: service('np', { type: 'NodePort' }) });
    const { ports } = port.json['spec'] as { ports: { nodePort: number }[] };
    assert.ok((ports[0]?.nodePort ?? 0) >= 30000);
  });

  test('deletecollection takes what is selected', async () => {
    for (const name of ['c1', 'c2', 'c3'])
      await fixture.call('POST', MAPS, {
        body: { metadata: { name, labels: { collect: name === 'c3' ? 'no' : 'yes' } } },
      });
    const deleted = await fixture.call('DELETE', `${MAPS}?labelSelector=collect%3Dyes`);
    assert.equal(deleted.json.items.length, 2);
    const left = await fixture.call('GET', `${MAPS}?labelSelector=collect`);
    assert.deepEqual(
      left.json.items.map((item) => item.metadata.name),
      ['c3'],
    );
  });

  test('objects as a table and as bare metadata', async () => {
    await fixture.call('POST', PODS, { body: pod('shown') });
    const table = await fixture.call('GET', `${PODS}?fieldSelector=metadata.name%3Dshown`, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' },
    });
    const { columnDefinitions, rows } = table.json as unknown as {
      columnDefinitions: { name: string }[];
      rows: { cells: unknown[]; object: { kind: string } }[];
    };
    assert.deepEqual(
      columnDefinitions.map(({ name }) => name),
      ['Name', 'Ready', 'Status', 'Restarts', 'Age', 'IP', 'Node', 'Nominated Node', 'Readiness Gates'],
    );
    assert.deepEqual(rows[0]?.cells.slice(0, 4), ['shown', '0/1', 'Pending', '0']);
    assert.equal(rows[0]?.object.kind, 'PartialObjectMetadata');
    const metadata = await fixture.call('GET', `${PODS}/shown`, {
      headers: { accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io' },
    });
    assert.deepEqual(
      [metadata.json.kind, Object.keys(metadata.json).sort()],
      ['PartialObjectMetadata', ['apiVersion', 'kind', 'metadata']],
    );
    assert.equal((await fixture.call('GET', PODS, { headers: { accept: 'application/xml' } })).status, 406);
  });

  test('changes of one object at the same time all count', async () => {
    await fixture.call('POST', MAPS, { body: { metadata: { name: 'contended' } } });
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        fixture.call('PATCH', `${MAPS}/contended`, {
          body: { data: { [`k${index}`]: 'v' } },
          headers: { 'content-type': 'application/merge-patch+json' },
        }),
      ),
    );
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const { json } = await fixture.call('GET', `${MAPS}/contended`);
    assert.equal(Object.keys(json['data'] as object).length, 30);
    const winners = await Promise.all(
      Array.from({ length: 10 }, () =>
        fixture.call('PUT', `${MAPS}/contended`, { body: { ...json, data: { x: String(Math.random()) } } }),
      ),
    );
    assert.deepEqual(winners.map(({ status }) => status).sort(), [200, ...Array.from({ length: 9 }, () => 409)]);
  });

  test('every acknowledged write is in the next read', async () => {
    for (let index = 0; index < 20; index++) {
      await fixture.call('POST', MAPS, { body: { metadata: { name: `fresh-${index}`, labels: { fresh: 'yes' } } } });
      const { json } = await fixture.call('GET', `${MAPS}?labelSelector=fresh`);
      assert.equal(json.items.length, index + 1);
    }
  });

  test('the API itself is a Service, at the first address', async () => {
    const path = '/api/v1/namespaces/default/services/kubernetes';
    const service = await fixture.call('GET', path);
    assert.equal((service.json['spec'] as { clusterIP: string }).clusterIP, '10.96.0.1');
    const slice = await fixture.call('GET', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes');
    assert.deepEqual((slice.json['ports'] as { port: number }[])[0]?.port, fixture.api.port);
    await fixture.restart();
    assert.deepEqual((await fixture.call('GET', path)).json, service.json, 'a restart changes nothing');
  });

  test('it has the same objects after a restart', async () => {
    const before = await fixture.call('GET', '/api/v1/configmaps');
    await fixture.restart();
    const now = await fixture.call('GET', '/api/v1/configmaps');
    assert.deepEqual(now.json.items, before.json.items);
    assert.ok(now.json.items.length > 3);
  });

  test('in the process the answer is the same', async () => {
    const path = '/api/v1/namespaces/large/configmaps';
    const plain = await fixture.call('GET', path);
    const transport = fixture.api.transport({ name: 'admin', groups: ['system:masters'] });
    const { body } = await transport.request({ method: 'GET', path, headers: {} });
    const chunks: Buffer[] = [];
    for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).toString(), plain.text);
    transport.close();
  });
});
