import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type ControlPlane,
  createNode,
  playNodes,
  playScheduler,
  setReady,
  startControlPlane,
  until,
} from '#testing/control-plane.ts';
import { endpoints, pods, services } from '../kinds/resources.ts';
import { createEndpointSliceController } from './endpoint-slice.ts';
import { createEndpointsController } from './endpoints.ts';

describe('endpoints controller', () => {
  let plane: ControlPlane;
  const stops: (() => void)[] = [];
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    stops.push(
      playScheduler(plane.client, 'node-1'),
      playNodes(plane.client, { ready: ({ metadata }) => metadata.name !== 'late' }),
    );
    await plane.start(createEndpointSliceController(), createEndpointsController());
  });
  after(async () => {
    for (const stop of stops) stop();
    await plane.close();
  });

  const labels = { app: 'web' };
  const createPod = (namespace: string, name: string) =>
    plane.client.create(pods, {
      metadata: { name, namespace, labels },
      spec: { containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 8080 }] }] },
    });

  it('tells ready and other addresses, and goes with its service', async () => {
    const namespace = await plane.namespace('mirror');
    await createPod(namespace, 'early');
    await createPod(namespace, 'late');
    await plane.client.create(services, {
      metadata: { name: 'web', namespace, labels: { tier: 'front' } },
      spec: { selector: labels, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
    });
    const [first] = await until(
      plane.client,
      endpoints,
      namespace,
      ([one]) => one?.subsets?.[0]?.addresses?.length === 1 && one.subsets[0].notReadyAddresses?.length === 1,
    );
    assert.equal(first?.metadata.labels?.['tier'], 'front');
    const [subset] = first.subsets ?? [];
    assert.deepEqual(subset?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
    assert.equal(subset?.addresses?.[0]?.targetRef?.name, 'early');
    assert.equal(subset.notReadyAddresses?.[0]?.targetRef?.name, 'late');
    const late = await plane.client.get(pods, 'late', namespace);
    await setReady(plane.client, late, true);
    await until(plane.client, endpoints, namespace, ([one]) => one?.subsets?.[0]?.addresses?.length === 2);
    // What somebody breaks is mended.
    await plane.client.patch(endpoints, 'web', { type: 'merge', body: { subsets: null } }, { namespace });
    await until(plane.client, endpoints, namespace, ([one]) => one?.subsets?.[0]?.addresses?.length === 2);
    await plane.client.delete(services, 'web', { namespace });
    await until(plane.client, endpoints, namespace, (list) => list.length === 0);
  });

  it('leaves those alone that a person wrote', async () => {
    const namespace = await plane.namespace('by-hand');
    const mine = await plane.client.create(endpoints, {
      metadata: { name: 'outside', namespace },
      subsets: [{ addresses: [{ ip: '192.0.2.1' }], ports: [{ port: 80 }] }],
    });
    await plane.client.create(services, { metadata: { name: 'outside', namespace }, spec: { ports: [{ port: 80 }] } });
    // A later service was looked at, and so was this one.
    await plane.client.create(services, {
      metadata: { name: 'zz', namespace },
      spec: { selector: labels, ports: [{ port: 80 }] },
    });
    const list = await until(plane.client, endpoints, namespace, (all) => all.length === 2);
    const left = list.find(({ metadata }) => metadata.name === 'outside');
    assert.deepEqual([left?.metadata.uid, left?.subsets], [mine.metadata.uid, mine.subsets]);
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});
