import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createNode, startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import { ApiError } from '../client/client.ts';
import { events, nodes } from '../kinds/resources.ts';
import { createNodeIpamController, ipv6CidrOf } from './node-ipam.ts';

let plane: ControlPlane;
const cluster = { clusterCidr: '10.90.0.0/21', clusterCidr6: 'fd00:90::/56' };

before(async () => {
  plane = await startControlPlane();
  // Came with the range of its engine, before there was a controller.
  await createNode(plane.client, 'own');
  await plane.client.patch(nodes, 'own', { type: 'merge', body: { spec: { podCIDR: '10.90.1.0/24' } } });
  const reserved = [{ node: 'first', range: '10.90.2.0/24' }];
  await plane.start(createNodeIpamController({ ...cluster, reserved }));
});
after(() => plane.close());

async function ranges(count: number): Promise<Record<string, string>> {
  const list = await until(
    plane.client,
    nodes,
    undefined,
    (all) => all.length === count && all.every(({ spec }) => Boolean(spec?.podCIDR)),
  );
  // The one that came with its own said nothing of IPv6.
  for (const { metadata, spec } of list)
    assert.deepEqual(
      spec?.podCIDRs,
      metadata.name === 'own' ? [spec?.podCIDR] : [spec?.podCIDR, ipv6CidrOf(spec?.podCIDR ?? '', cluster)],
    );
  return Object.fromEntries(list.map(({ metadata, spec }) => [metadata.name, spec?.podCIDR ?? '']));
}

test('nodes that come at once get ranges of their own; what is reserved or brought along is nobody else’s', async () => {
  await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => createNode(plane.client, name)));
  const given = await ranges(6);
  assert.equal(given['own'], '10.90.1.0/24');
  assert.equal(new Set(Object.values(given)).size, 6);
  assert.ok(!Object.values(given).includes('10.90.2.0/24'));
  await createNode(plane.client, 'first');
  assert.equal((await ranges(7))['first'], '10.90.2.0/24');
});

test('a restarted controller gives nothing twice', async () => {
  await plane.restartControllers();
  await createNode(plane.client, 'f');
  assert.equal(new Set(Object.values(await ranges(8))).size, 8);
});

test('one that finds no range left gets the one of a node that goes', async () => {
  await createNode(plane.client, 'waiting');
  await until(plane.client, events, undefined, (all) => all.some(({ reason }) => reason === 'CIDRNotAvailable'));
  const { spec } = await plane.client.get(nodes, 'c');
  await plane.client.delete(nodes, 'c');
  assert.equal((await ranges(8))['waiting'], spec?.podCIDR);
});

test('a range is a range, and never changes', async () => {
  const change = (name: string, podCIDR: string) =>
    plane.client.patch(nodes, name, { type: 'merge', body: { spec: { podCIDR, podCIDRs: [podCIDR] } } });
  await assert.rejects(
    change('a', '10.90.7.0/24'),
    (error: unknown) =>
      error instanceof ApiError && /may not change podCIDR except from "" to valid/.test(error.message),
  );
  await assert.rejects(
    plane.client.create(nodes, { metadata: { name: 'crooked' }, spec: { podCIDR: '10.90.0.1/24' } }),
    (error: unknown) => error instanceof ApiError && error.code === 422,
  );
});

test('a range of IPv6 is the one at the same place, and may come to a node that has none', async () => {
  assert.equal(ipv6CidrOf('10.90.0.0/24', cluster), 'fd00:90::/64');
  assert.equal(ipv6CidrOf('10.90.7.0/24', cluster), 'fd00:90:0:7::/64');
  assert.equal(ipv6CidrOf('10.91.0.0/24', { ...cluster, clusterCidr6: 'fd00:90::/62' }), undefined);
  const change = (podCIDRs: string[]) =>
    plane.client.patch(nodes, 'own', { type: 'merge', body: { spec: { podCIDRs } } });
  await assert.rejects(change(['10.90.1.0/24', '10.90.3.0/24']), /may not change podCIDR|no more than one CIDR/);
  await change(['10.90.1.0/24', 'fd00:90:0:1::/64']);
  await assert.rejects(change(['10.90.1.0/24', 'fd00:90:0:2::/64']), /may not change podCIDR/);
  await assert.rejects(change(['10.90.1.0/24']), /may not change podCIDR/);
});
