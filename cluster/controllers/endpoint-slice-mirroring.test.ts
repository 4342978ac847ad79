import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { endpointSlices, endpoints, services } from '../kinds/resources.ts';
import { createEndpointSliceMirroring } from './endpoint-slice-mirroring.ts';

describe('endpoint slice mirroring', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await plane.start(createEndpointSliceMirroring());
  });
  after(() => plane.close());

  it('follows Endpoints of services without a selector, and no others', async () => {
    const namespace = await plane.namespace('mirror');
    const ports = [{ name: 'http', port: 80 }];
    await plane.client.create(services, { metadata: { name: 'outside', namespace }, spec: { ports } });
    await plane.client.create(services, {
      metadata: { name: 'selected', namespace },
      spec: { ports, selector: { app: 'web' } },
    });
    const subsets = [
      {
        addresses: [{ ip: '192.0.2.1' }],
        notReadyAddresses: [{ ip: '192.0.2.2' }],
        ports: [{ name: 'http', port: 8080 }],
      },
    ];
    for (const name of ['selected', 'nobody', 'outside'])
      await plane.client.create(endpoints, { metadata: { name, namespace, labels: { tier: 'x' } }, subsets });
    const skipped = { name: 'skipped', namespace, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } };
    await plane.client.create(services, { metadata: { name: 'skipped', namespace }, spec: { ports } });
    await plane.client.create(endpoints, { metadata: skipped, subsets });

    const [slice, ...others] = await until(plane.client, endpointSlices, namespace, (list) => list.length > 0);
    assert.deepEqual(others, []);
    assert.deepEqual(slice?.metadata.labels, {
      tier: 'x',
      'kubernetes.io/service-name': 'outside',
      'endpointslice.kubernetes.io/managed-by': 'endpointslicemirroring-controller.k8s.io',
    });
    assert.equal(slice?.metadata.ownerReferences?.[0]?.kind, 'Endpoints');
    assert.deepEqual(slice?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
    assert.deepEqual(slice?.endpoints, [
      { addresses: ['192.0.2.1'], conditions: { ready: true } },
      { addresses: ['192.0.2.2'], conditions: { ready: false } },
    ]);

    const original = await plane.client.get(endpoints, 'outside', namespace);
    await plane.client.update(endpoints, {
      ...original,
      subsets: [{ addresses: [{ ip: '192.0.2.9' }, { ip: 'fd00::9' }], ports: [{ name: 'http', port: 8080 }] }],
    });
    const both = await until(plane.client, endpointSlices, namespace, (list) => list.length === 2);
    assert.deepEqual(both.map(({ addressType, endpoints: [one] }) => [addressType, one?.addresses[0]]).toSorted(), [
      ['IPv4', '192.0.2.9'],
      ['IPv6', 'fd00::9'],
    ]);
    await plane.client.delete(endpoints, 'outside', { namespace });
    await until(plane.client, endpointSlices, namespace, (list) => list.length === 0);
    assert.deepEqual(plane.warnings, []);
  });
});
