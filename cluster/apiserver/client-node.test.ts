/** `@kubernetes/client-node` as it comes from npm: requests, informers over a restart of the server, a controller. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  ApiException,
  ApiextensionsV1Api,
  AppsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  type Informer,
  KubeConfig,
  KubernetesObjectApi,
  makeInformer,
  type V1ConfigMap,
  Watch,
} from '@kubernetes/client-node';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

describe('API server: @kubernetes/client-node', () => {
  let fixture: ApiFixture;
  const config = new KubeConfig();
  let core: CoreV1Api;
  before(async () => {
    fixture = await apiFixture();
    config.loadFromFile(join(fixture.directory, 'kubeconfig'));
    core = config.makeApiClient(CoreV1Api);
  });
  after(() => fixture.close());

  const create = (name: string, data: Record<string, string> = {}) =>
    core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { name }, data } });
  const informerOf = () => {
    const list = () => core.listNamespacedConfigMap({ namespace: 'default' });
    return makeInformer(config, '/api/v1/namespaces/default/configmaps', list);
  };
  /** The first of these events whose object is as asked. */
  const event = (informer: Informer<V1ConfigMap>, verb: 'add' | 'update' | 'delete', name: string) =>
    new Promise<V1ConfigMap>((resolve) => {
      informer.on(verb, (object) => {
        if (object.metadata?.name === name) resolve(object);
      });
    });

  test('typed requests, patches, errors and dates', async () => {
    await create('first', { a: '1' });
    const found = await core.readNamespacedConfigMap({ namespace: 'default', name: 'first' });
    assert.ok(found.metadata?.creationTimestamp instanceof Date);
    await assert.rejects(create('first'), (error) => error instanceof ApiException && error.code === 409);
    const objects = KubernetesObjectApi.makeApiClient(config);
    const patched = await objects.patch({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'first', namespace: 'default' },
      data: { b: '2' },
    } as V1ConfigMap);
    assert.deepEqual((patched as V1ConfigMap).data, { a: '1', b: '2' });
    const { items } = await config.makeApiClient(AppsV1Api).listDeploymentForAllNamespaces();
    assert.deepEqual(items, []);
  });

  test('an informer goes on where it was when the server comes back', async () => {
    const informer = informerOf();
    informer.on('error', () => void informer.start());
    const [added, changed, deleted] = [
      event(informer, 'add', 'kept'),
      event(informer, 'update', 'kept'),
      event(informer, 'delete', 'first'),
    ];
    await informer.start();
    await create('kept');
    await added;
    await fixture.restart();
    await core.replaceNamespacedConfigMap({
      namespace: 'default',
      name: 'kept',
      body: { metadata: { name: 'kept' }, data: { now: 'other' } },
    });
    assert.deepEqual((await changed).data, { now: 'other' });
    await core.deleteNamespacedConfigMap({ namespace: 'default', name: 'first' });
    await deleted;
    assert.deepEqual(
      informer.list('default')?.map(({ metadata }) => metadata?.name),
      ['kept'],
    );
    await informer.stop();
  });

  test('a controller of a custom resource brings about what it asks for', async () => {
    await config.makeApiClient(ApiextensionsV1Api).createCustomResourceDefinition({
      body: {
        metadata: { name: 'greetings.example.com' },
        spec: {
          group: 'example.com',
          scope: 'Namespaced',
          names: { plural: 'greetings', kind: 'Greeting' },
          versions: [
            {
              name: 'v1',
              served: true,
              storage: true,
              subresources: { status: {} },
              schema: { openAPIV3Schema: { type: 'object', x_kubernetes_preserve_unknown_fields: true } },
            },
          ],
        },
      },
    });
    const custom = config.makeApiClient(CustomObjectsApi);
    const where = { group: 'example.com', version: 'v1', namespace: 'default', plural: 'greetings' };
    type Greeting = { metadata: { name: string; uid: string }; spec: { name: string }; status?: object };
    const reconcile = async (greeting: Greeting) => {
      const { name, uid } = greeting.metadata;
      const ownerReferences = [{ apiVersion: 'example.com/v1', kind: 'Greeting', name, uid, controller: true }];
      const body = {
        metadata: { name: `greeting-${name}`, ownerReferences },
        data: { text: `Hello, ${greeting.spec.name}!` },
      };
      await core.createNamespacedConfigMap({ namespace: 'default', body });
      await custom.replaceNamespacedCustomObjectStatus({
        ...where,
        name,
        body: { ...greeting, status: { greeted: true } },
      });
    };
    const ready = Promise.withResolvers<void>();
    const controller = await new Watch(config).watch(
      '/apis/example.com/v1/namespaces/default/greetings',
      {},
      (phase, object: Greeting) => {
        if (phase === 'ADDED') reconcile(object).catch(ready.reject);
        if (phase === 'MODIFIED' && object.status !== undefined) ready.resolve();
      },
      (error) => (error === null || (error as Error).name === 'AbortError' ? undefined : ready.reject(error as Error)),
    );
    await custom.createNamespacedCustomObject({
      ...where,
      body: { apiVersion: 'example.com/v1', kind: 'Greeting', metadata: { name: 'a' }, spec: { name: 'world' } },
    });
    await ready.promise;
    const made = await core.readNamespacedConfigMap({ namespace: 'default', name: 'greeting-a' });
    assert.deepEqual(made.data, { text: 'Hello, world!' });
    controller.abort();
  });
});
