import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../../kinds/kind.ts';
import type { Node } from '../../kinds/types/core.ts';
import { peersOf } from './peers.ts';

const own = { address: '192.0.2.1', range: '10.96.0.0/24' };
const options = { nodeName: 'here', own, clusterCidr: '10.96.0.0/16' };

function node(
  name: string,
  podCIDR?: string,
  address?: string,
  creationTimestamp = '2026-01-01T00:00:00Z',
): Stored<Node> {
  return {
    metadata: { name, uid: name, resourceVersion: '1', creationTimestamp },
    spec: podCIDR === undefined ? {} : { podCIDR },
    status: { addresses: address === undefined ? [] : [{ type: 'InternalIP', address }] },
  };
}

test('every other node with a range and an address is a peer', () => {
  const nodes = [
    node('here', own.range, own.address),
    node('there', '10.96.1.0/24', '192.0.2.2'),
    node('new', undefined, '192.0.2.3'),
    node('silent', '10.96.3.0/24'),
  ];
  assert.deepEqual(peersOf(nodes, options), { peers: [{ address: '192.0.2.2', range: '10.96.1.0/24' }], refused: [] });
});

test('what this node or an older one has is not given to another that claims it', () => {
  const nodes = [
    node('thief', '10.96.1.0/24', '192.0.2.9', '2026-01-02T00:00:00Z'),
    node('there', '10.96.1.0/24', '192.0.2.2'),
    node('mine', '10.96.0.0/24', '192.0.2.4'),
    node('address', '10.96.5.0/24', '192.0.2.1'),
    node('outside', '10.97.0.0/24', '192.0.2.5'),
    node('wide', '10.0.0.0/8', '192.0.2.6'),
    node('six', '10.96.6.0/24', '2001:db8::1'),
  ];
  const { peers, refused } = peersOf(nodes, options);
  assert.deepEqual(peers, [{ address: '192.0.2.2', range: '10.96.1.0/24' }]);
  assert.deepEqual(refused.map((one) => one.node).sort(), ['address', 'mine', 'outside', 'six', 'thief', 'wide']);
});

test('a range of IPv6 goes the same way, where it is of the cluster and nobody else’s', () => {
  const dual = { ...options, own: { ...own, range6: 'fd00::/64' }, ipv6: { clusterCidr: 'fd00::/56' } };
  const six = (name: string, index: number, range6: string): Stored<Node> => {
    const one = node(name, `10.96.${index}.0/24`, `192.0.2.${index + 1}`, `2026-01-0${index}T00:00:00Z`);
    return { ...one, spec: { ...one.spec, podCIDRs: [`10.96.${index}.0/24`, range6] } };
  };
  const nodes = [six('a', 1, 'fd00:0:0:1::/64'), six('b', 2, 'fd00:0:0:1::/64'), six('c', 3, 'fd01::/64')];
  const { peers, refused } = peersOf(nodes, dual);
  assert.deepEqual(
    peers.map(({ range, range6 }) => [range, range6]),
    [
      ['10.96.1.0/24', 'fd00:0:0:1::/64'],
      ['10.96.2.0/24', undefined],
      ['10.96.3.0/24', undefined],
    ],
  );
  assert.deepEqual(refused.map((one) => one.node).sort(), ['b', 'c']);
  assert.equal(peersOf(nodes, options).peers[0]?.range6, undefined);
});
