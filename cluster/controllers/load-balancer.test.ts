import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import type { Stored } from '../kinds/kind.ts';
import { events, services } from '../kinds/resources.ts';
import type { Service, ServiceSpec } from '../kinds/types/core.ts';
import { createLoadBalancerController } from './load-balancer.ts';

const addressOf = ({ status }: Stored<Service>): string => status?.loadBalancer?.ingress?.[0]?.ip ?? '';

describe('load balancer controller', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane({ serviceCidr6: 'fd00:96::/112' });
    await plane.start(createLoadBalancerController(['192.0.2.200/31', '192.0.2.210/32', 'fd00:200::/127']));
  });
  after(() => plane.close());

  const make = (name: string, namespace: string, spec: ServiceSpec = {}) =>
    plane.client.create(services, {
      metadata: { name, namespace },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
    });
  const addresses = async (namespace: string, count: number): Promise<Record<string, string>> => {
    const list = await until(
      plane.client,
      services,
      namespace,
      (all) => all.filter((one) => addressOf(one) !== '').length === count,
    );
    return Object.fromEntries(list.map((one) => [one.metadata.name, addressOf(one)]));
  };
  const problem = (namespace: string, name: string, message: RegExp) =>
    until(plane.client, events, namespace, (all) =>
      all.some(({ involvedObject, reason, message: text }) => {
        return involvedObject.name === name && reason === 'SyncLoadBalancerFailed' && message.test(text ?? '');
      }),
    );

  it('gives each an address of the pool, the one that is asked for where it can, and says why not', async () => {
    const namespace = await plane.namespace('balanced');
    await make('asks', namespace, { loadBalancerIP: '192.0.2.210' });
    await addresses(namespace, 1);
    await make('one', namespace);
    await addresses(namespace, 2);
    await make('two', namespace);
    assert.deepEqual(await addresses(namespace, 3), {
      asks: '192.0.2.210',
      one: '192.0.2.200',
      two: '192.0.2.201',
    });
    await make('late', namespace);
    await problem(namespace, 'late', /no address of IPv4 is left in the pool 192\.0\.2\.200\/31,192\.0\.2\.210\/32/);
    await make('foreign', namespace, { loadBalancerIP: '198.51.100.1' });
    await problem(namespace, 'foreign', /198\.51\.100\.1 is not in the pool/);
    await make('second', namespace, { loadBalancerIP: '192.0.2.210' });
    await problem(namespace, 'second', /belongs to another service/);
    await make('others', namespace, { loadBalancerClass: 'example.com/theirs' });

    // What becomes free is given to one that waits.
    await plane.client.delete(services, 'one', { namespace });
    const then = await addresses(namespace, 3);
    assert.equal(then['late'], '192.0.2.200');
    assert.equal(then['others'], '');

    // One that is no load balancer any more gives back what only that has.
    await plane.client.patch(services, 'two', { type: 'merge', body: { spec: { type: 'ClusterIP' } } }, { namespace });
    const after = await addresses(namespace, 2);
    assert.equal(after['two'], '');
    const { spec } = await plane.client.get(services, 'two', namespace);
    assert.deepEqual(
      [spec?.ports?.[0]?.nodePort, spec?.allocateLoadBalancerNodePorts, spec?.externalTrafficPolicy],
      [undefined, undefined, undefined],
    );
    assert.deepEqual(plane.warnings, []);
  });

  it('gives one of each family by the policy of the service: all or none where both are required, else what there is', async () => {
    const namespace = await plane.namespace('families');
    const has = async (name: string, ...wanted: string[]): Promise<void> => {
      await until(plane.client, services, namespace, (all) => {
        const service = all.find(({ metadata }) => metadata.name === name);
        return (service?.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip).join() === wanted.join();
      });
    };
    const both = { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6', 'IPv4'] };
    await make('asks', namespace, { ipFamilies: ['IPv6'], loadBalancerIP: 'FD00:200:0::1' });
    await has('asks', 'fd00:200::1');
    await make('wrong', namespace, { loadBalancerIP: 'fd00:200::' });
    await problem(namespace, 'wrong', /fd00:200:: is of none of the families IPv4/);
    await make('both', namespace, both);
    await has('both', 'fd00:200::', '192.0.2.201');
    await make('needs', namespace, both);
    await problem(namespace, 'needs', /no address of IPv6 is left in the pool/);
    await make('prefers', namespace, { ipFamilyPolicy: 'PreferDualStack' });
    await problem(namespace, 'prefers', /no address of IPv4 is left in the pool/);
    await plane.client.delete(services, 'asks', { namespace });
    await has('prefers', 'fd00:200::1');
    await problem(namespace, 'needs', /no address of IPv4 is left in the pool/);
    // One family less is an address less.
    const single = { spec: { ipFamilyPolicy: 'SingleStack' } };
    await plane.client.patch(services, 'both', { type: 'merge', body: single }, { namespace });
    await has('both', 'fd00:200::');
    await has('prefers', '192.0.2.201', 'fd00:200::1');
  });

  it('without a pool a service stays pending, and an event says why', async () => {
    const poor = await startControlPlane();
    try {
      await poor.start(createLoadBalancerController([]));
      const namespace = await poor.namespace('poor');
      const spec = { type: 'LoadBalancer', ports: [{ port: 80 }] };
      await poor.client.create(services, { metadata: { name: 'waits', namespace }, spec });
      await until(poor.client, events, namespace, (all) =>
        all.some(({ message }) => /no addresses for load balancers \(--load-balancer-pool\)/.test(message ?? '')),
      );
      const { status } = await poor.client.get(services, 'waits', namespace);
      assert.deepEqual(status?.loadBalancer, {});
    } finally {
      await poor.close();
    }
  });

  it('a health check port comes with the policy Local and goes with it', async () => {
    const namespace = await plane.namespace('health');
    const { spec } = await make('checked', namespace, { externalTrafficPolicy: 'Local' });
    assert.ok((spec?.healthCheckNodePort ?? 0) >= 30_000);
    const patched = await plane.client.patch(
      services,
      'checked',
      { type: 'merge', body: { spec: { externalTrafficPolicy: 'Cluster' } } },
      { namespace },
    );
    assert.equal(patched.spec?.healthCheckNodePort, undefined);
  });
});
