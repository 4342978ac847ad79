import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressesOfNode, holderOf } from './load-balancers.ts';

const nodes = ['a', 'b', 'c'];
const addresses = Array.from({ length: 60 }, (_, index) => `192.0.2.${index}`);

test('each address has one holder, whoever asks, and a node that goes moves its own alone', () => {
  const before = new Map(addresses.map((address) => [address, holderOf(address, nodes)]));
  assert.deepEqual(
    addresses.map((address) => holderOf(address, ['c', 'a', 'b'])),
    [...before.values()],
  );
  for (const node of nodes) assert.ok([...before.values()].filter((holder) => holder === node).length > 8, node);
  for (const [address, holder] of before) if (holder !== 'b') assert.equal(holderOf(address, ['a', 'c']), holder);
  assert.equal(holderOf('192.0.2.1', []), undefined);
});

test('addresses of the pool, by nodes that have endpoints where only those may', () => {
  const only = new Set(['b', 'gone']);
  const services = [
    { addresses: ['192.0.2.1', '198.51.100.1'], only: undefined },
    { addresses: ['192.0.2.9', '2001:db8::9', '2001:db8:1::9'], only },
  ];
  const of = (node: string): string[] => addressesOfNode(node, nodes, services, ['192.0.2.0/24', '2001:db8::/64']);
  assert.deepEqual(nodes.flatMap(of).toSorted(), ['192.0.2.1', '192.0.2.9', '2001:db8::9']);
  assert.ok(of('b').includes('192.0.2.9'));
  assert.deepEqual(addressesOfNode('gone', nodes, services, ['192.0.2.0/24']), []);
});
