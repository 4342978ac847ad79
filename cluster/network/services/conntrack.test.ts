import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionsOf, mayBeStale, udpFrontends } from './conntrack.ts';
import type { Protocol, ServicePort } from './services.ts';

const port = (protocol: Protocol, endpoints: string[]): ServicePort => ({
  name: 'default/dns',
  family: 4,
  protocol,
  port: 53,
  clusterIp: '10.87.0.10',
  nodePort: 30_053,
  externalIps: ['198.51.100.1'],
  loadBalancerIps: [],
  sourceRanges: [],
  internalPolicy: 'Cluster',
  externalPolicy: 'Cluster',
  backends: { Cluster: endpoints.map((ip) => ({ ip, port: 5353 })), Local: [] },
});
const udp = (...endpoints: string[]) => udpFrontends([port('udp', endpoints)]);

test('frontends of UDP, with where they lead', () => {
  const endpoints = new Set(['10.86.0.5:5353']);
  assert.deepEqual(
    udp('10.86.0.5'),
    new Map([
      ['10.87.0.10:53', endpoints],
      ['198.51.100.1:53', endpoints],
      [':30053', endpoints],
    ]),
  );
  assert.deepEqual(udpFrontends([port('tcp', ['10.86.0.5'])]), new Map());
});

test('connections are looked at when an endpoint or a frontend went, or the first endpoint came', () => {
  assert.equal(mayBeStale(udp('10.86.0.5'), udp('10.86.0.5')), false);
  assert.equal(mayBeStale(udp('10.86.0.5'), udp('10.86.0.5', '10.86.0.6')), false);
  assert.equal(mayBeStale(udp('10.86.0.5', '10.86.0.6'), udp('10.86.0.6')), true);
  assert.equal(mayBeStale(udp('10.86.0.5'), new Map()), true);
  assert.equal(mayBeStale(udp(), udp('10.86.0.5')), true);
  assert.equal(mayBeStale(new Map(), udp('10.86.0.5')), true);
  assert.equal(mayBeStale(new Map(), udp()), false);
});

test('the listing of conntrack(8)', () => {
  const listing = `udp      17 29 src=10.86.0.9 dst=10.87.0.10 sport=4000 dport=53 src=10.86.0.5 dst=10.86.0.9 sport=5353 dport=4000 [ASSURED] mark=0 use=1
udp      17 9 src=192.0.2.2 dst=192.0.2.1 sport=5000 dport=53 [UNREPLIED] src=192.0.2.1 dst=192.0.2.2 sport=53 dport=5000 mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.
`;
  assert.deepEqual(
    [...connectionsOf(listing)],
    [
      { destination: '10.87.0.10', port: '53', answeredBy: '10.86.0.5', answeringPort: '5353' },
      { destination: '192.0.2.1', port: '53', answeredBy: '192.0.2.1', answeringPort: '53' },
    ],
  );
});
