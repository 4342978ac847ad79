import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, EndpointSlice } from '../../kinds/types/discovery.ts';
import { backendsOf } from './choice.ts';

const node = { name: 'here', zone: 'a' };
const port = { name: 'http', protocol: 'TCP', family: 4 } as const;
const slice = (endpoints: Endpoint[], number = 80): EndpointSlice => ({
  metadata: { name: 's' },
  addressType: 'IPv4',
  ports: [{ name: 'http', protocol: 'TCP', port: number }],
  endpoints,
});
const at = (ip: string, conditions: Endpoint['conditions'], rest: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [ip],
  ...(conditions && { conditions }),
  ...rest,
});
const chosen = (endpoints: Endpoint[], where = node) => {
  const { Cluster, Local } = backendsOf([slice(endpoints)], port, where);
  return { Cluster: Cluster.map(({ ip }) => ip), Local: Local.map(({ ip }) => ip) };
};
const ready = { ready: true };
const ending = { ready: false, serving: true, terminating: true };
const failing = { ready: false, serving: false, terminating: false };

test('ready endpoints, in the order of their addresses; what says nothing is ready', () => {
  const endpoints = [
    at('10.0.0.10', undefined),
    at('10.0.0.9', ready),
    at('10.0.0.2', failing),
    at('10.0.0.3', ending),
  ];
  assert.deepEqual(chosen(endpoints).Cluster, ['10.0.0.9', '10.0.0.10']);
});

test('where none is ready, those that serve while they end; never those that do neither', () => {
  const gone = { ready: false, serving: false, terminating: true };
  assert.deepEqual(chosen([at('10.0.0.1', failing), at('10.0.0.2', ending), at('10.0.0.3', gone)]).Cluster, [
    '10.0.0.2',
  ]);
  assert.deepEqual(chosen([at('10.0.0.1', failing), at('10.0.0.3', gone)]).Cluster, []);
});

test('local ones are chosen by themselves: one that ends here, while others elsewhere are ready', () => {
  const endpoints = [at('10.0.0.1', ready, { nodeName: 'there' }), at('10.0.0.2', ending, { nodeName: 'here' })];
  assert.deepEqual(chosen(endpoints), { Cluster: ['10.0.0.1'], Local: ['10.0.0.2'] });
});

test('hints hold where every ready endpoint has one and one is for this zone', () => {
  const hint = (zone: string): Partial<Endpoint> => ({ hints: { forZones: [{ name: zone }] } });
  const both = [at('10.0.0.1', ready, hint('a')), at('10.0.0.2', ready, hint('b'))];
  assert.deepEqual(chosen(both).Cluster, ['10.0.0.1']);
  assert.deepEqual(chosen([...both, at('10.0.0.3', ready)]).Cluster, ['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  assert.deepEqual(chosen(both, { name: 'here', zone: 'c' }).Cluster, ['10.0.0.1', '10.0.0.2']);
});

test('endpoints of IPv6, each address in the one way that it is written', () => {
  const six = { ...slice([at('fd00:0:0::5', ready), at('fd00::4', ready), at('::1', ready), at('10.0.0.1', ready)]) };
  const { Cluster } = backendsOf([{ ...six, addressType: 'IPv6' }], { ...port, family: 6 }, node);
  assert.deepEqual(Cluster, [
    { ip: 'fd00::4', port: 80 },
    { ip: 'fd00::5', port: 80 },
  ]);
  assert.deepEqual(backendsOf([six], { ...port, family: 6 }, node).Cluster, []);
});

test('nobody is led to the loopback of a node, nor to what is on its link alone', () => {
  const special = ['127.0.0.1', '0.0.0.0', '169.254.169.254', '224.0.0.1'].map((ip) => at(ip, ready));
  assert.deepEqual(chosen([...special, at('10.0.0.1', ready)]).Cluster, ['10.0.0.1']);
});

test('each slice has its own number for a named port; other ports and families are passed over', () => {
  const slices = [
    slice([at('10.0.0.1', ready)], 8080),
    slice([at('10.0.0.2', ready), at('10.0.0.1', failing)], 9090),
    { ...slice([at('fd00::1', ready)]), addressType: 'IPv6' },
    { ...slice([at('10.0.0.7', ready)]), ports: [{ name: 'http', protocol: 'UDP', port: 80 }] },
  ];
  assert.deepEqual(backendsOf(slices, port, node).Cluster, [
    { ip: '10.0.0.1', port: 8080 },
    { ip: '10.0.0.2', port: 9090 },
  ]);
});
