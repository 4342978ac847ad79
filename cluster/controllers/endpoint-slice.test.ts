import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createNode, setReady, startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import type { Stored } from '../kinds/kind.ts';
import { endpointSlices, pods, services } from '../kinds/resources.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { EndpointSlice } from '../kinds/types/discovery.ts';
import { createEndpointSliceController } from './endpoint-slice.ts';

describe('endpoint slice controller', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    await plane.start(createEndpointSliceController());
  });
  after(() => plane.close());

  async function runningPod(namespace: string, name: string, port: number): Promise<Stored<Pod>> {
    await plane.client.create(pods, {
      metadata: { name, namespace, labels: { app: 'web' } },
      spec: {
        nodeName: 'node-1',
        containers: [{ name: 'c', image: 'i', ports: [{ name: 'web', containerPort: port }] }],
      },
    });
    await setReady(plane.client, await plane.client.get(pods, name, namespace), true);
    return plane.client.get(pods, name, namespace);
  }

  const shown = (slices: Stored<EndpointSlice>[]): unknown[] =>
    slices.flatMap(({ endpoints, ports }) =>
      endpoints.map(({ targetRef, conditions }) => [
        targetRef?.name,
        ports?.map(({ port }) => port),
        conditions?.ready,
        conditions?.serving,
        conditions?.terminating,
      ]),
    );
  const ready = (slices: Stored<EndpointSlice>[]): string[] =>
    slices
      .flatMap(({ endpoints }) =>
        endpoints.filter(({ conditions }) => conditions?.ready).map(({ targetRef }) => targetRef?.name ?? ''),
      )
      .toSorted();

  it('follows pods as they become ready, stop and go', async () => {
    const namespace = await plane.namespace('follow');
    await plane.client.create(services, {
      metadata: { name: 'web', namespace, labels: { tier: 'front' } },
      spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'web' }] },
    });
    const [emptySlice] = await until(plane.client, endpointSlices, namespace, (list) => list.length === 1);
    assert.deepEqual(emptySlice?.endpoints, []);
    const one = await runningPod(namespace, 'one', 8080);
    const [slice] = await until(
      plane.client,
      endpointSlices,
      namespace,
      (list) => list.length === 1 && ready(list).length === 1,
    );
    assert.ok(slice);
    assert.equal(slice.addressType, 'IPv4');
    assert.deepEqual(slice.metadata.labels, {
      tier: 'front',
      'kubernetes.io/service-name': 'web',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    });
    assert.equal(slice.metadata.ownerReferences?.[0]?.kind, 'Service');
    assert.deepEqual(slice.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
    assert.deepEqual(slice.endpoints, [
      {
        addresses: [one.status?.podIP],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: 'node-1',
        targetRef: { kind: 'Pod', namespace, name: 'one', uid: one.metadata.uid },
      },
    ]);

    // The same name for another number: a slice of its own.
    await runningPod(namespace, 'two', 9090);
    const both = await until(plane.client, endpointSlices, namespace, (list) => ready(list).length === 2);
    assert.deepEqual(both.map(({ ports }) => ports?.[0]?.port).toSorted(), [8080, 9090]);

    await setReady(plane.client, await plane.client.get(pods, 'one', namespace), false);
    const unready = await until(plane.client, endpointSlices, namespace, (list) => ready(list).length === 1);
    assert.ok(JSON.stringify(shown(unready)).includes(JSON.stringify(['one', [8080], false, false, false])));

    await plane.client.delete(pods, 'two', { namespace, gracePeriodSeconds: 30 });
    const stopping = await until(plane.client, endpointSlices, namespace, (list) => ready(list).length === 0);
    assert.ok(JSON.stringify(shown(stopping)).includes(JSON.stringify(['two', [9090], false, true, true])));
    await plane.client.delete(pods, 'two', { namespace, gracePeriodSeconds: 0 });
    await until(plane.client, endpointSlices, namespace, (list) => shown(list).length === 1);
    await plane.client.delete(services, 'web', { namespace });
    await until(plane.client, endpointSlices, namespace, (list) => list.length === 0);
  });

  it('lists nothing for a name outside', async () => {
    const namespace = await plane.namespace('outside');
    const spec = { selector: { app: 'web' }, ports: [{ port: 80 }] };
    await plane.client.create(services, { metadata: { name: 'web', namespace }, spec });
    await until(plane.client, endpointSlices, namespace, (list) => list.length === 1);
    const body = { spec: { type: 'ExternalName', externalName: 'example.com', clusterIP: null, clusterIPs: null } };
    await plane.client.patch(services, 'web', { type: 'merge', body }, { namespace });
    await until(plane.client, endpointSlices, namespace, (list) => list.length === 0);
  });

  it('publishes pods that are not ready when the service says so, and leaves slices of others alone', async () => {
    const namespace = await plane.namespace('publish');
    await plane.client.create(endpointSlices, {
      metadata: { name: 'by-hand', namespace, labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['192.0.2.1'] }],
    });
    await plane.client.create(services, {
      metadata: { name: 'web', namespace },
      spec: { selector: { app: 'web' }, clusterIP: 'None', publishNotReadyAddresses: true, ports: [{ port: 80 }] },
    });
    const pod = await runningPod(namespace, 'one', 80);
    await setReady(plane.client, pod, false);
    const slices = await until(
      plane.client,
      endpointSlices,
      namespace,
      (list) => list.length === 2 && list.some(({ endpoints }) => endpoints[0]?.targetRef?.name === 'one'),
    );
    const own = slices.find(({ metadata }) => metadata.name !== 'by-hand');
    assert.equal(own?.endpoints[0]?.conditions?.ready, true);
    assert.equal(own?.metadata.labels?.['service.kubernetes.io/headless'], '');
    assert.deepEqual(slices.find(({ metadata }) => metadata.name === 'by-hand')?.endpoints, [
      { addresses: ['192.0.2.1'] },
    ]);
    assert.deepEqual(plane.warnings, []);
  });
});
