import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { compareVersions } from '../kinds/version-order.ts';

describe('API server: discovery', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  test('groups and resources, plain', async () => {
    assert.deepEqual((await fixture.call('GET', '/api')).json['versions'], ['v1']);
    const { json } = await fixture.call('GET', '/apis');
    const names = (json['groups'] as { name: string }[]).map(({ name }) => name).sort();
    assert.deepEqual(names, [
      'admissionregistration.k8s.io',
      'apiextensions.k8s.io',
      'apiregistration.k8s.io',
      'apps',
      'authentication.k8s.io',
      'authorization.k8s.io',
      'autoscaling',
      'batch',
      'certificates.k8s.io',
      'coordination.k8s.io',
      'discovery.k8s.io',
      'events.k8s.io',
      'flowcontrol.apiserver.k8s.io',
      'metrics.k8s.io',
      'networking.k8s.io',
      'node.k8s.io',
      'policy',
      'rbac.authorization.k8s.io',
      'scheduling.k8s.io',
      'storage.k8s.io',
    ]);
    const core = await fixture.call('GET', '/api/v1');
    const resources = (core.json['resources'] as { name: string; verbs: string[] }[]).map(({ name }) => name);
    for (const name of [
      'pods',
      'pods/exec',
      'pods/log',
      'pods/status',
      'pods/binding',
      'namespaces/finalize',
      'bindings',
    ])
      assert.ok(resources.includes(name), name);
    assert.equal((await fixture.call('GET', '/apis/nowhere.example.com')).status, 404);
  });

  test('all at once, and only when it changed', async () => {
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
    const answer = await fixture.call('GET', '/apis', { headers: { accept } });
    assert.equal(answer.json.kind, 'APIGroupDiscoveryList');
    assert.equal(
      answer.headers['content-type'],
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
    );
    const apps = answer.json.items.find((item) => item.metadata.name === 'apps') as unknown as {
      versions: { resources: { resource: string; subresources: { subresource: string }[] }[] }[];
    };
    const deployments = apps.versions[0]?.resources.find(({ resource }) => resource === 'deployments');
    assert.deepEqual(
      deployments?.subresources.map(({ subresource }) => subresource),
      ['scale', 'status'],
    );
    const again = await fixture.call('GET', '/apis', {
      headers: { accept, 'if-none-match': String(answer.headers.etag) },
    });
    assert.deepEqual([again.status, again.text], [304, '']);
  });

  test('OpenAPI in both versions', async () => {
    const index = await fixture.call('GET', '/openapi/v3');
    const paths = index.json['paths'] as Record<string, { serverRelativeURL: string }>;
    const apps = await fixture.call('GET', paths['apis/apps/v1']?.serverRelativeURL ?? '');
    const { components } = apps.json as unknown as { components: { schemas: Record<string, { properties: object }> } };
    assert.ok(components.schemas['io.k8s.api.apps.v1.DeploymentSpec']?.properties);
    assert.ok(!apps.text.includes('#/definitions/'));
    assert.equal((await fixture.call('GET', '/openapi/v2')).json['swagger'], '2.0');
    const protobuf = await fixture.call('GET', '/openapi/v2', {
      headers: { accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf' },
    });
    assert.ok(protobuf.text.startsWith('\n\u00032.0'));
    assert.equal((await fixture.call('GET', '/openapi/v2', { headers: { accept: 'text/html' } })).status, 406);
  });

  test('OpenAPI documents are kept by their hash', async () => {
    const { json } = await fixture.call('GET', '/openapi/v3');
    const { serverRelativeURL: url } = (json['paths'] as Record<string, { serverRelativeURL: string }>)[
      'apis/batch/v1'
    ] ?? {
      serverRelativeURL: '',
    };
    assert.match(url, /^\/openapi\/v3\/apis\/batch\/v1\?hash=[0-9A-F]{128}$/);
    const first = await fixture.call('GET', url);
    assert.match(String(first.headers['cache-control']), /immutable/);
    assert.ok((first.json['components'] as { schemas: object }).schemas);
    const etag = String(first.headers.etag);
    assert.equal((await fixture.call('GET', url, { headers: { 'if-none-match': etag } })).status, 304);
    const other = await fixture.call('GET', '/openapi/v3/apis/batch/v1?hash=OLD');
    assert.deepEqual([other.status, other.headers.location], [301, url]);
    const second = await fixture.call('GET', '/openapi/v2');
    const again = await fixture.call('GET', '/openapi/v2', {
      headers: { 'if-none-match': String(second.headers.etag) },
    });
    assert.equal(again.status, 304);
  });

  test('health as a whole, by check, and in words', async () => {
    // Single checks are for those who watch over the server (`system:monitoring`), not for everybody.
    assert.equal((await fixture.call('GET', '/readyz/ping', { as: null })).status, 403);
    assert.equal((await fixture.call('GET', '/readyz', { as: null })).text, 'ok');
    const get = async (path: string) => {
      const { status, text } = await fixture.call('GET', path);
      return [status, text];
    };
    for (const path of ['/healthz', '/livez', '/readyz', '/readyz/ping', '/livez/etcd', '/readyz/informer-sync'])
      assert.deepEqual(await get(path), [200, 'ok'], path);
    assert.deepEqual(await get('/livez?verbose'), [200, '[+]ping ok\n[+]log ok\n[+]etcd ok\nlivez check passed\n']);
    const [status, text] = await get('/readyz?verbose&exclude=etcd&exclude=none');
    assert.equal(status, 200);
    assert.match(String(text), /\[\+\]etcd excluded: ok\n\[\+\]informer-sync ok\n\[\+\]shutdown ok\n/);
    assert.match(
      String(text),
      /warn: some health checks cannot be excluded: no matches for "none"\nreadyz check passed\n$/,
    );
    assert.equal((await get('/livez/nothing'))[0], 404);
    assert.equal((await get('/livez/informer-sync'))[0], 404);
  });

  test('metrics and version', async () => {
    const metrics = await fixture.call('GET', '/metrics');
    assert.match(metrics.text, /apiserver_request_total\{verb="GET",resource="",code="200"\} \d+/);
    assert.match(metrics.text, /apiserver_storage_objects\{resource="namespaces"\} 4/);
    assert.equal((await fixture.call('GET', '/version')).json['major'], '1');
  });
});

test('stable versions come before beta and alpha', () => {
  const versions = ['v1alpha1', 'v2beta1', 'foo', 'v1', 'v10', 'v2', 'v2beta10'];
  assert.deepEqual(versions.sort(compareVersions), ['v10', 'v2', 'v1', 'v2beta10', 'v2beta1', 'v1alpha1', 'foo']);
});
