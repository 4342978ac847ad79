import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { renderService, renderTable, tableName } from './rules.ts';
import type { Backend, ServicePort } from './services.ts';
import { replacement } from './table.ts';

const network = {
  instance: 'golden',
  podCidr: '10.86.3.0/24',
  clusterCidr: '10.86.0.0/16',
  serviceCidr: '10.87.0.0/16',
};
const here = [
  { ip: '10.86.3.5', port: 8080 },
  { ip: '10.86.3.6', port: 9090 },
];
const elsewhere = { ip: '10.86.4.7', port: 8080 };
const plain: ServicePort = {
  name: 'default/plain:http',
  family: 4,
  protocol: 'tcp',
  port: 80,
  clusterIp: '10.87.0.10',
  externalIps: [],
  loadBalancerIps: [],
  sourceRanges: [],
  internalPolicy: 'Cluster',
  externalPolicy: 'Cluster',
  backends: { Cluster: [...here, elsewhere], Local: here },
};
const services: ServicePort[] = [
  plain,
  { ...plain, name: 'default/single', protocol: 'udp', port: 53, backends: { Cluster: [elsewhere], Local: [] } },
  { ...plain, name: 'default/empty', clusterIp: '10.87.0.11', nodePort: 30_011, backends: { Cluster: [], Local: [] } },
  { ...plain, name: 'default/sticky', protocol: 'sctp', clusterIp: '10.87.0.12', affinitySeconds: 10_800 },
  {
    ...plain,
    name: 'default/stays',
    clusterIp: '10.87.0.13',
    nodePort: 30_013,
    internalPolicy: 'Local',
    externalPolicy: 'Local',
    backends: { Cluster: [elsewhere], Local: [] },
  },
  {
    ...plain,
    name: 'default/public',
    clusterIp: '10.87.0.14',
    nodePort: 30_014,
    externalIps: ['198.51.100.4'],
    loadBalancerIps: ['192.0.2.200'],
    sourceRanges: ['203.0.113.0/24', '203.0.113.64/26'],
    externalPolicy: 'Local',
  },
];

const dual = {
  ...network,
  ipv6: { podCidr: 'fd00:86:0:3::/64', clusterCidr: 'fd00:86::/56', serviceCidr: 'fd00:87::/112' },
};

/** The same place of the ranges of IPv6. */
const sixOf = (ip: string): string => {
  const [, second, third, fourth] = ip.split('.').map(Number);
  return second === 86 ? `fd00:86:0:${third}::${fourth?.toString(16)}` : `fd00:87::${fourth?.toString(16)}`;
};
const backendsOf = (backends: Backend[]): Backend[] => backends.map(({ ip, port }) => ({ ip: sixOf(ip), port }));
const inIpv6 = (port: ServicePort): ServicePort => ({
  ...port,
  family: 6,
  clusterIp: sixOf(port.clusterIp),
  externalIps: port.externalIps.map(() => '2001:db8::4'),
  loadBalancerIps: port.loadBalancerIps.map(() => '2001:db8::c8'),
  sourceRanges: port.sourceRanges.map((_, index) => `2001:db8:${index}::/48`),
  backends: { Cluster: backendsOf(port.backends.Cluster), Local: backendsOf(port.backends.Local) },
});

const script = (): string => {
  const fragments = services.map((port) => renderService(network, [port]));
  return replacement(tableName(network.instance), renderTable(network, fragments, ['192.0.2.200']));
};
const dualScript = (): string => {
  const fragments = services.map((port) => renderService(dual, [port, inIpv6(port)]));
  return replacement(tableName(network.instance), renderTable(dual, fragments, ['192.0.2.200', '2001:db8::c8']));
};

test('the table is what the golden file shows', () => {
  matchesGolden(join(import.meta.dirname, 'testdata/table.nft'), script());
  matchesGolden(join(import.meta.dirname, 'testdata/dual-stack.nft'), dualScript());
});

test('nft accepts the table', () => {
  for (const input of [script(), dualScript()]) {
    const { status, stderr } = spawnSync('nft', ['--check', '-f', '-'], { input, encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(status, 0);
  }
});

test('names never reach a rule as they are', () => {
  const { objects } = renderService(network, [{ ...plain, name: 'x/"; drop }\n', nodePort: 30_000 }]);
  const text = replacement('t', objects);
  assert.doesNotMatch(text, /; drop|\n\n/);
  assert.match(text, /comment "x\/__ drop __";/);
});
