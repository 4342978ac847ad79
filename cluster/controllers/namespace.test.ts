import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createNode, startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import { configMaps, namespaces, pods, secrets, serviceAccounts } from '../kinds/resources.ts';
import { createNamespaceController } from './namespace.ts';
import { createServiceAccountController } from './service-account.ts';

describe('namespace and service account controllers', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await plane.start(createNamespaceController(), createServiceAccountController());
  });
  after(() => plane.close());

  it('gives every namespace its default account, again when it is deleted', async () => {
    const [first] = await (async () => {
      await plane.client.create(namespaces, { metadata: { name: 'accounts' } });
      return until(plane.client, serviceAccounts, 'accounts', (list) => list.length === 1);
    })();
    assert.equal(first?.metadata.name, 'default');
    await plane.client.delete(serviceAccounts, 'default', { namespace: 'accounts' });
    await until(
      plane.client,
      serviceAccounts,
      'accounts',
      (list) => list.length === 1 && list[0]?.metadata.uid !== first?.metadata.uid,
    );
  });

  it('empties a namespace before it lets it go, and says what holds it up', async () => {
    const name = await plane.namespace('doomed');
    await createNode(plane.client, 'node-1');
    await plane.client.create(configMaps, { metadata: { name: 'a', namespace: name } });
    await plane.client.create(configMaps, {
      metadata: { name: 'held', namespace: name, finalizers: ['example.com/hold'] },
    });
    await plane.client.create(secrets, { metadata: { name: 'b', namespace: name } });
    await plane.client.create(pods, {
      metadata: { name: 'p', namespace: name },
      spec: { nodeName: 'node-1', containers: [{ name: 'c', image: 'i' }] },
    });
    await plane.client.delete(namespaces, name);
    const list = await until(plane.client, namespaces, undefined, (all) =>
      all.some(
        ({ metadata, status }) =>
          metadata.name === name && status?.conditions?.some(({ message }) => message?.includes('example.com/hold')),
      ),
    );
    const status = list.find(({ metadata }) => metadata.name === name)?.status;
    assert.equal(status?.phase, 'Terminating');
    assert.match(
      status?.conditions?.find(({ type }) => type === 'NamespaceContentRemaining')?.message ?? '',
      /configmaps\. has 1 resource instances/,
    );
    await until(plane.client, pods, name, ([pod]) => pod?.metadata.deletionTimestamp !== undefined);
    await plane.client.patch(
      configMaps,
      'held',
      { type: 'merge', body: { metadata: { finalizers: null } } },
      { namespace: name },
    );
    // The node agent says that the pod is gone.
    await plane.client.delete(pods, 'p', { namespace: name, gracePeriodSeconds: 0 });
    await until(plane.client, namespaces, undefined, (all) => all.every(({ metadata }) => metadata.name !== name));
    assert.deepEqual(plane.warnings, []);
  });
});
